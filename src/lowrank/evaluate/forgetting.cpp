#include "lowrank/evaluate/forgetting.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/triu_indices.h>
#include <algorithm>
#include <cmath>
#include <vector>

#include "lowrank/base/error.h"
#include "lowrank/evaluate/scores.h"

namespace lowrank::evaluate {

namespace {

constexpr int64_t kTexts = 500;  // 124,750 pairs: enough for three digits of a rank correlation

std::vector<double> pair_cosines(const at::Tensor& vectors) {
  const at::Tensor some = vectors.slice(0, 0, std::min(kTexts, vectors.size(0))).to(at::kDouble);
  const at::Tensor products = at::mm(some, some.t());
  const at::Tensor upper = at::triu_indices(some.size(0), some.size(0), 1);
  const at::Tensor cosines = products.index({upper[0], upper[1]}).contiguous();
  return {cosines.const_data_ptr<double>(), cosines.const_data_ptr<double>() + cosines.numel()};
}

}  // namespace

SimilarityDrift similarity_drift(const at::Tensor& before, const at::Tensor& after) {
  check(before.sizes() == after.sizes() && before.size(0) >= 3, ErrorKind::shape, "similarity_drift",
        "expected embeddings of the same three texts or more, got {} and {} rows", before.size(0), after.size(0));
  const std::vector<double> a = pair_cosines(before), b = pair_cosines(after);
  double shift = 0;
  for (size_t i = 0; i < a.size(); ++i) shift += std::abs(a[i] - b[i]);
  return {spearman(a, b), shift / static_cast<double>(a.size())};
}

}  // namespace lowrank::evaluate
