#include "lowrank/evaluate/forgetting.h"

#include <ATen/ops/eye.h>
#include <ATen/ops/tensor.h>

#include "support/expect_error.h"

namespace lowrank::evaluate {
namespace {

at::Tensor on_circle(const std::vector<double>& degrees) {
  const at::Tensor angle = at::tensor(degrees) * (3.14159265358979 / 180);
  return at::stack({angle.cos(), angle.sin()}, 1);
}

TEST(SimilarityDrift, NothingChangedIsNothingForgotten) {
  const at::Tensor vectors = on_circle({0, 10, 40, 100});
  const SimilarityDrift drift = similarity_drift(vectors, vectors);
  EXPECT_DOUBLE_EQ(drift.rank_agreement, 1.0);
  EXPECT_DOUBLE_EQ(drift.similarity_shift, 0.0);
}

TEST(SimilarityDrift, ARotationOfAllVectorsForgetsNothing) {
  const SimilarityDrift drift = similarity_drift(on_circle({0, 10, 40, 100}), on_circle({50, 60, 90, 150}));
  EXPECT_NEAR(drift.rank_agreement, 1.0, 1e-12);
  EXPECT_NEAR(drift.similarity_shift, 0.0, 1e-12);
}

TEST(SimilarityDrift, SwappedNeighboursShow) {
  const SimilarityDrift drift = similarity_drift(on_circle({0, 10, 90}), on_circle({0, 80, 90}));
  EXPECT_LT(drift.rank_agreement, 0.6);
  EXPECT_GT(drift.similarity_shift, 0.3);
}

TEST(SimilarityDrift, NeedsThreeTexts) { EXPECT_LOWRANK_ERROR(similarity_drift(at::eye(2), at::eye(2)), ErrorKind::shape, "three texts"); }

}  // namespace
}  // namespace lowrank::evaluate
