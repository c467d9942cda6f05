#include "lowrank/kernels/lowrank_linear.h"

#include <ATen/ops/kron.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <torch/csrc/autograd/autograd.h>

#include "support/expect_error.h"

namespace lowrank::kernels {
namespace {

struct Case {
  bool bias, gain, mix;
  std::vector<int64_t> rows;  // few, or so many that W' is formed
};

class LowRankLinear : public testing::TestWithParam<Case> {};

TEST_P(LowRankLinear, EqualsThePlainExpressionWithAllGradients) {
  const Case& c = GetParam();
  at::manual_seed(3);
  const auto leaf = [](at::IntArrayRef shape) { return at::randn(shape, at::kDouble).requires_grad_(); };
  const int64_t l = c.mix ? 2 : 1, m = c.mix ? 3 : 1, k = 5, n = 6;
  auto shape = c.rows;
  shape.push_back(m * n);
  const at::Tensor x = leaf(shape), weight = at::randn({l * k, m * n}, at::kDouble), A = leaf({2, n}), B = leaf({k, 2});
  const at::Tensor bias = c.bias ? leaf({l * k}) : at::Tensor(), gain = c.gain ? leaf({l * k}) : at::Tensor(),
                   mix = c.mix ? leaf({l, m}) : at::Tensor();
  const at::Tensor y = lowrank_linear(x, weight, bias, A, B, 0.7, gain, mix);
  at::Tensor expected = at::linear(x, weight + 0.7 * at::kron(c.mix ? mix : at::ones({1, 1}, at::kDouble), B.mm(A)));
  if (c.gain) expected = expected * gain;
  if (c.bias) expected = expected + bias;
  ASSERT_EQ(y.sizes(), expected.sizes());
  EXPECT_LT((y - expected).abs().max().item<double>(), 1e-12);
  std::vector<at::Tensor> inputs = {x, A, B};
  for (const at::Tensor& maybe : {bias, gain, mix}) {
    if (maybe.defined()) inputs.push_back(maybe);
  }
  const at::Tensor weights = at::randn(y.sizes(), at::kDouble);
  const auto got = torch::autograd::grad({(y * weights).sum()}, inputs),
             wanted = torch::autograd::grad({(expected * weights).sum()}, inputs);
  for (size_t i = 0; i < inputs.size(); ++i) EXPECT_LT((got[i] - wanted[i]).abs().max().item<double>(), 1e-11) << i;
}

INSTANTIATE_TEST_SUITE_P(Forms, LowRankLinear,
                         testing::Values(Case{true, false, false, {3}}, Case{false, false, false, {3}}, Case{true, true, false, {3}},
                                         Case{false, true, false, {1, 2}}, Case{true, false, true, {3}}, Case{true, false, false, {50}},
                                         Case{true, true, false, {50}}, Case{false, true, false, {10, 9}}, Case{true, false, true, {50}},
                                         Case{false, false, true, {10, 9}}));

}  // namespace
}  // namespace lowrank::kernels
