#include "lowrank/kernels/group_norm.h"

#include <ATen/ops/group_norm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

namespace lowrank::kernels {
namespace {

struct Case {
  at::ScalarType dtype;
  double bound;
};

class GroupNorm : public testing::TestWithParam<Case> {};

TEST_P(GroupNorm, IsTheLibrarysWithChannelsLast) {
  const auto [dtype, bound] = GetParam();
  at::manual_seed(7);
  // 12 groups are more than one piece of work; the mean lies far from zero.
  const at::Tensor x = (at::randn({2, 36, 5, 7}) * 2 + 9).to(dtype), weight = at::randn({36}).to(dtype), bias = at::randn({36}).to(dtype),
                   dy = at::randn(x.sizes()).to(dtype);
  for (const bool silu : {false, true}) {
    const at::Tensor last = x.contiguous(at::MemoryFormat::ChannelsLast).requires_grad_(), wide = x.to(at::kDouble).requires_grad_();
    const at::Tensor y = group_norm(last, 12, weight, bias, 1e-5, silu);
    at::Tensor wanted = at::group_norm(wide, 12, weight.to(at::kDouble), bias.to(at::kDouble), 1e-5);
    if (silu) wanted = at::silu(wanted);
    EXPECT_TRUE(y.is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_LT(((y - wanted).norm() / wanted.norm()).item<double>(), bound) << silu;
    const at::Tensor dx = torch::autograd::grad({y}, {last}, {dy})[0],
                     expected = torch::autograd::grad({wanted}, {wide}, {dy.to(at::kDouble)})[0];
    EXPECT_LT(((dx - expected).norm() / expected.norm()).item<double>(), bound) << silu;
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, GroupNorm, testing::Values(Case{at::kDouble, 1e-12}, Case{at::kFloat, 2e-6}, Case{at::kBFloat16, 4e-3}));

TEST(GroupNormGradients, ReachParametersThatTrain) {
  at::manual_seed(8);
  const at::Tensor x = at::randn({1, 8, 3, 3}).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_(),
                   weight = at::randn({8}).requires_grad_(), bias = at::randn({8}).requires_grad_();
  const auto gradients = torch::autograd::grad({group_norm(x, 4, weight, bias, 1e-5, true).sum()}, {weight, bias, x});
  EXPECT_GT(gradients[0].abs().min().item<double>(), 0);
  EXPECT_GT(gradients[1].abs().min().item<double>(), 0);
}

}  // namespace
}  // namespace lowrank::kernels
