#include "lowrank/kernels/lowrank_conv2d.h"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "lowrank/kernels/plain_conv2d.h"

namespace lowrank::kernels {
namespace {

struct Case {
  bool bias, gain, mix;
  ConvGeometry geometry;
  bool channels_last = false;
};

class LowRankConv2d : public testing::TestWithParam<Case> {};

TEST_P(LowRankConv2d, EqualsThePlainExpressionWithAllGradients) {
  const Case& c = GetParam();
  at::manual_seed(3);
  const auto leaf = [](at::IntArrayRef shape) { return at::randn(shape, at::kDouble).requires_grad_(); };
  const ConvGeometry& g = c.geometry;
  const int64_t l = c.mix ? 2 : 1, m = c.mix ? 3 : 1, k = 5, n = 4;
  at::Tensor x = at::randn({2, m * n, 6, 5}, at::kDouble);
  if (c.channels_last) x = x.contiguous(at::MemoryFormat::ChannelsLast);
  x.requires_grad_();
  const at::Tensor weight = at::randn({l * k, m * n, g.kernel[0], g.kernel[1]}, at::kDouble), A = leaf({2, n * g.taps()}), B = leaf({k, 2});
  const at::Tensor bias = c.bias ? leaf({l * k}) : at::Tensor(), gain = c.gain ? leaf({l * k}) : at::Tensor(),
                   mix = c.mix ? leaf({l, m}) : at::Tensor();
  const at::Tensor adapted = weight + 0.7 * at::kron(c.mix ? mix : at::ones({1, 1}, at::kDouble), B.mm(A)).view(weight.sizes());
  at::Tensor expected = at::conv2d(x, adapted, {}, g.stride, g.padding, g.dilation);
  if (c.gain) expected = expected * gain.view({-1, 1, 1});
  if (c.bias) expected = expected + bias.view({-1, 1, 1});
  std::vector<at::Tensor> inputs = {x, A, B};
  for (const at::Tensor& maybe : {bias, gain, mix}) {
    if (maybe.defined()) inputs.push_back(maybe);
  }
  const at::Tensor weights = at::randn(expected.sizes(), at::kDouble);
  const auto wanted = torch::autograd::grad({(expected * weights).sum()}, inputs);
  for (const at::Tensor& y :
       {lowrank_conv2d(x, weight, bias, g, A, B, 0.7, gain, mix), plain_lowrank_conv2d(x, weight, bias, g, {A, B, gain, mix, 0.7})}) {
    ASSERT_EQ(y.sizes(), expected.sizes());
    EXPECT_LT((y - expected).abs().max().item<double>(), 1e-11);
    const auto got = torch::autograd::grad({(y * weights).sum()}, inputs);
    for (size_t i = 0; i < inputs.size(); ++i) EXPECT_LT((got[i] - wanted[i]).abs().max().item<double>(), 1e-10) << i;
  }
}

constexpr ConvGeometry kSame{{3, 3}, {1, 1}, {1, 1}, {1, 1}}, kStrided{{3, 2}, {2, 1}, {1, 2}, {1, 2}}, kPointwise{};

INSTANTIATE_TEST_SUITE_P(Forms, LowRankConv2d,
                         testing::Values(Case{true, false, false, kSame}, Case{false, false, false, kStrided},
                                         Case{true, true, false, kStrided}, Case{false, true, false, kSame},
                                         Case{true, false, true, kStrided}, Case{false, false, true, kSame},
                                         Case{true, false, false, kPointwise}, Case{true, true, false, kPointwise},
                                         Case{true, false, true, kPointwise}, Case{true, false, true, kSame, true}));

}  // namespace
}  // namespace lowrank::kernels
