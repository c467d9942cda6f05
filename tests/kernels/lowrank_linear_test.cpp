#include "lowrank/kernels/lowrank_linear.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <torch/csrc/autograd/autograd.h>

#include "support/expect_error.h"

namespace lowrank::kernels {
namespace {

struct Case {
  bool bias, gain;
  std::vector<int64_t> rows;
};

class LowRankLinear : public testing::TestWithParam<Case> {};

TEST_P(LowRankLinear, EqualsThePlainExpressionWithAllGradients) {
  const Case& c = GetParam();
  at::manual_seed(3);
  const auto leaf = [](at::IntArrayRef shape) { return at::randn(shape, at::kDouble).requires_grad_(); };
  auto shape = c.rows;
  shape.push_back(6);
  const at::Tensor x = leaf(shape), weight = at::randn({5, 6}, at::kDouble), A = leaf({2, 6}), B = leaf({5, 2});
  const at::Tensor bias = c.bias ? leaf({5}) : at::Tensor(), gain = c.gain ? leaf({5}) : at::Tensor();
  const at::Tensor y = lowrank_linear(x, weight, bias, A, B, 0.7, gain);
  at::Tensor expected = at::linear(x, weight + 0.7 * B.mm(A));
  if (c.gain) expected = expected * gain;
  if (c.bias) expected = expected + bias;
  ASSERT_EQ(y.sizes(), expected.sizes());
  EXPECT_LT((y - expected).abs().max().item<double>(), 1e-12);
  std::vector<at::Tensor> inputs = {x, A, B};
  if (c.bias) inputs.push_back(bias);
  if (c.gain) inputs.push_back(gain);
  const at::Tensor mix = at::randn(y.sizes(), at::kDouble);
  const auto got = torch::autograd::grad({(y * mix).sum()}, inputs), wanted = torch::autograd::grad({(expected * mix).sum()}, inputs);
  for (size_t i = 0; i < inputs.size(); ++i) EXPECT_LT((got[i] - wanted[i]).abs().max().item<double>(), 1e-11) << i;
}

INSTANTIATE_TEST_SUITE_P(Forms, LowRankLinear,
                         testing::Values(Case{true, false, {7}}, Case{false, false, {7}}, Case{true, true, {7}}, Case{false, true, {2, 3}}));

}  // namespace
}  // namespace lowrank::kernels
