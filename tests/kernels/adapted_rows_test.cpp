#include "lowrank/kernels/adapted_rows.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "lowrank/kernels/lowrank_linear.h"
#include "lowrank/kernels/packed_weights.h"
#include "lowrank/kernels/tile_product.h"

namespace lowrank::kernels {
namespace {

struct Case {
  int64_t rows, rank;
  bool bias, gain, mix;
};

/// While it lives no more weights are kept in the unit's order.
class FullShelf {
 public:
  FullShelf() : weight_(at::empty({1, kMostKept / 2 - kept_bytes() / 2}, at::kBFloat16)) {
    EXPECT_NE(packed_weight(weight_, {/*turned=*/false, 1}, weight_.numel(), [](at::BFloat16*) {}), nullptr);
  }

 private:
  at::Tensor weight_;
};

class AdaptedRowsOnly : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_tiles()) GTEST_SKIP() << "no matrix unit";
    at::manual_seed(7);
  }
};

class AdaptedRows : public AdaptedRowsOnly, public testing::WithParamInterface<Case> {};

double distance(const at::Tensor& got, const at::Tensor& wanted) {
  const at::Tensor a = got.to(at::kDouble), b = wanted.to(at::kDouble);
  return (a - b).norm().item<double>() / b.norm().item<double>();
}

/// k and n: output and input of a block.
void check_layer(const Case& c, int64_t k, int64_t n) {
  const int64_t l = c.mix ? 4 : 1, m = c.mix ? 3 : 1;
  const auto narrow = [](at::IntArrayRef shape) { return at::randn(shape).to(at::kBFloat16); };
  std::vector<at::Tensor> inputs = {narrow({c.rows, m * n}), at::randn({c.rank, n}), at::randn({k, c.rank})};
  const at::Tensor weight = narrow({l * k, m * n}), bias = c.bias ? narrow({l * k}) : at::Tensor();
  if (c.gain) inputs.push_back(at::rand({l * k}) + 0.5);  // its gradient is divided by it, and y's rounding with it
  if (c.mix) inputs.push_back(at::randn({l, m}));
  std::vector<at::Tensor> wide;
  for (at::Tensor& input : inputs) {
    wide.push_back(input.to(at::kDouble).requires_grad_());
    input.requires_grad_();
  }
  const auto layer = [&](const std::vector<at::Tensor>& in, const at::Tensor& w, const at::Tensor& b) {
    return lowrank_linear(in[0], w, b, in[1], in[2], 0.3, c.gain ? in[3] : at::Tensor(), c.mix ? in[3] : at::Tensor());
  };
  const at::Tensor dy = narrow({c.rows, l * k}), y = layer(inputs, weight, bias),
                   wanted = layer(wide, weight.to(at::kDouble), c.bias ? bias.to(at::kDouble) : bias);
  EXPECT_LT(distance(y, wanted), 5e-3);  // observed 2.5e-3: A, B, x·Aᵀ and y are rounded
  const auto got = torch::autograd::grad({y}, inputs, {dy}), expected = torch::autograd::grad({wanted}, wide, {dy.to(at::kDouble)});
  for (size_t i = 0; i < got.size(); ++i) EXPECT_LT(distance(got[i], expected[i]), 1e-2) << i;
}

TEST_P(AdaptedRows, OutputAndEveryGradientAreTheWideLayers) { check_layer(GetParam(), GetParam().mix ? 22 : 84, 38); }

TEST_P(AdaptedRows, OfAWeightThatIsNotKept) {
  const FullShelf full;
  check_layer(GetParam(), GetParam().mix ? 22 : 84, 38);
  if (GetParam().rows < 100) check_layer(GetParam(), 300, 1600);  // several groups of columns, and pieces of depth
}

INSTANTIATE_TEST_SUITE_P(Forms, AdaptedRows,
                         testing::Values(Case{1, 1, true, false, false}, Case{7, 16, false, false, false}, Case{33, 5, true, true, false},
                                         Case{500, 16, true, true, false}, Case{411, 20, false, true, false}, Case{2, 3, true, false, true},
                                         Case{500, 16, true, false, true}, Case{640, 40, true, false, false}));

TEST_F(AdaptedRowsOnly, ProductAndProjectionAreFoundTogether) {
  const FullShelf full;
  for (const int64_t rank : {2, 8, 34}) {
    const at::Tensor x = at::randn({70, 1600}).to(at::kBFloat16), weight = at::randn({300, 1600}).to(at::kBFloat16),
                     A = at::randn({rank, 1600});
    const auto both = frozen_rows_and_projection(x, weight, A);
    ASSERT_TRUE(both) << rank;
    const at::Tensor wide = weight.to(at::kDouble);
    EXPECT_LT(distance(both->product, x.to(at::kDouble).mm(wide.t())), 3e-3);
    EXPECT_LT(distance(both->projected, wide.mm(A.to(at::kDouble).t())), 1e-6) << "A in three parts";
    const at::Tensor B = at::randn({300, rank}), gain = at::rand({300}) + 0.5, bias = at::randn({300}).to(at::kBFloat16);
    const at::Tensor y = lowrank_linear(x, weight, bias, A, B, 0.3, gain),
                     same = lowrank_linear(x, weight, bias, A, B, 0.3, gain, {}, both->product);
    EXPECT_LT(distance(same, y), 5e-3);
  }
}

TEST_F(AdaptedRowsOnly, AKeptWeightIsNotReadForAProjection) {
  const at::Tensor x = at::randn({70, 64}).to(at::kBFloat16), weight = at::randn({32, 64}).to(at::kBFloat16), A = at::randn({4, 64});
  EXPECT_FALSE(frozen_rows_and_projection(x, weight, A));
  EXPECT_FALSE(frozen_rows_and_projection(x.to(at::kFloat), weight.to(at::kFloat), A));
}

TEST(PackedWeights, AreKeptWhileTheWeightIsAsItWas) {
  int packings = 0;
  const auto pack = [&](at::Tensor& weight) {
    return packed_weight(weight, {/*turned=*/false, 1}, weight.numel(), [&](at::BFloat16*) { ++packings; });
  };
  const int64_t before = kept_bytes();
  {
    at::Tensor weight = at::ones({8, 4}, at::kBFloat16);
    const auto first = pack(weight);
    EXPECT_EQ(pack(weight), first);
    EXPECT_EQ(packings, 1);
    EXPECT_EQ(kept_bytes(), before + 64);
    weight.add_(1);
    EXPECT_NE(pack(weight), first);
    EXPECT_EQ(packings, 2);
    EXPECT_EQ(kept_bytes(), before + 64);
  }
  EXPECT_EQ(kept_bytes(), before);
  at::Tensor large = at::ones({1, kMostKept / 2 + 1}, at::kBFloat16);  // more than is kept
  EXPECT_EQ(pack(large), nullptr);
  EXPECT_EQ(packings, 2);
}

}  // namespace
}  // namespace lowrank::kernels
