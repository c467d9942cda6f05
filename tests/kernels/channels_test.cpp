#include "lowrank/kernels/channels.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/randn.h>
#include <cmath>
#include <gtest/gtest.h>

#include "lowrank/kernels/bfloat16.h"

namespace lowrank::kernels {
namespace {

TEST(ChannelSums, EqualTheLibrarysSumsInEveryDtype) {
  at::manual_seed(2);
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor a = at::randn({3, 21, 7, 5}).to(dtype), b = at::randn(a.sizes()).to(dtype);
    const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
    const double bound = dtype == at::kDouble ? 1e-12 : 2e-5;  // sums of 105 numbers in float32
    EXPECT_LT((channel_sums(a) - x.sum({0, 2, 3})).abs().max().item<double>(), bound) << dtype;
    EXPECT_LT((channel_dots(a, b) - (x * y).sum({0, 2, 3})).abs().max().item<double>(), bound) << dtype;
    EXPECT_EQ(channel_sums(a).scalar_type(), dtype == at::kDouble ? at::kDouble : at::kFloat);
  }
}

TEST(ScaleChannels, RoundsOnce) {
  at::manual_seed(2);
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf}) {
    const auto wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor x = at::randn({2, 5, 7, 3}).to(dtype), gain = at::randn({5}).to(wide), bias = at::randn({5}).to(wide);
    const at::Tensor product = gain.view({-1, 1, 1}) * x.to(at::kDouble), sum = product + bias.view({-1, 1, 1});
    const at::Tensor out = at::empty_like(x);
    const double bound = dtype == at::kDouble ? 1e-15 : dtype == at::kFloat ? 3e-7 : dtype == at::kHalf ? 6e-4 : 5e-3;  // half a step
    scale_channels(out, x, gain, bias);
    EXPECT_LT(((out - sum).abs() - bound * sum.abs().clamp_min(1)).max().item<double>(), 0) << dtype;
    scale_channels(out, x, gain, {});
    EXPECT_LT(((out - product).abs() - bound * product.abs().clamp_min(1)).max().item<double>(), 0) << dtype;
  }
}

TEST(Rounded, IsTheLibrarysRounding) {
  at::Tensor x = at::randn({4096}).mul_(1e3);
  const float corners[] = {0.0F, -0.0F, INFINITY, -INFINITY, NAN, 1.00390625F, 1.01171875F, 3.4e38F, 1e-40F};
  for (int64_t i = 0; i < 9; ++i) x[i] = corners[i];
  const at::Tensor expected = x.to(at::kBFloat16);
  for (int64_t i = 0; i < x.numel(); ++i) {
    const float value = x.const_data_ptr<float>()[i];
    const auto got = rounded<at::BFloat16>(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(got)));
    } else {
      EXPECT_EQ(got.x, expected.const_data_ptr<at::BFloat16>()[i].x) << value;
    }
  }
}

}  // namespace
}  // namespace lowrank::kernels
