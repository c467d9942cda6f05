#include "lowrank/evaluate/robustness.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

namespace lowrank::evaluate {
namespace {

at::Tensor change(std::string_view name, const at::Tensor& pixels, const std::vector<int64_t>& samples) {
  for (const Condition& condition : conditions()) {
    if (condition.name == name) return condition.change(pixels, samples);
  }
  ADD_FAILURE() << "no condition " << name;
  return pixels;
}

/// Grey 100 with a white dot right of the middle.
at::Tensor dotted() {
  at::Tensor pixels = at::full({1, 33, 33, 3}, 100, at::kByte);
  pixels.slice(1, 15, 18).slice(2, 27, 30).fill_(255);
  return pixels;
}

/// Row and column of the brightest pixel.
std::pair<int64_t, int64_t> brightest(const at::Tensor& pixels) {
  const int64_t at = pixels.select(0, 0).to(at::kInt).sum(2).argmax().item<int64_t>();
  return {at / pixels.size(2), at % pixels.size(2)};
}

TEST(RobustnessTest, EveryChangeIsAFunctionOfPixelsAndSampleAlone) {
  const at::Tensor one = dotted(), two = at::cat({one, one});
  for (const Condition& condition : conditions()) {
    const at::Tensor together = condition.change(two, std::vector<int64_t>{7, 8}), alone = condition.change(one, std::vector<int64_t>{8});
    EXPECT_EQ(together.sizes(), two.sizes()) << condition.name;
    EXPECT_EQ(together.scalar_type(), at::kByte) << condition.name;
    EXPECT_TRUE(at::equal(together.slice(0, 1), alone)) << condition.name;
    EXPECT_FALSE(at::equal(alone, one) && condition.name != "grey") << condition.name;
  }
}

TEST(RobustnessTest, RotationTurnsAboutTheCentre) {
  // 12 pixels right of the centre, turned by 30°: 10.4 right and 6 up or down.
  bool up = false, down = false;
  for (int64_t sample = 0; sample < 12; ++sample) {
    const auto [row, column] = brightest(change("rotation 30°", dotted(), {sample}));
    EXPECT_NEAR(static_cast<double>(column), 26.4, 1.5);
    EXPECT_NEAR(std::abs(static_cast<double>(row) - 16), 6, 1.5);
    up |= row < 16;
    down |= row > 16;
  }
  EXPECT_TRUE(up && down);
}

TEST(RobustnessTest, NoiseBlurAndColourAreAsLargeAsTheySay) {
  const at::Tensor flat = at::full({1, 64, 64, 3}, 128, at::kByte);
  EXPECT_NEAR(change("noise 0.1", flat, {1}).to(at::kFloat).std().item<double>(), 25.5, 0.8);
  EXPECT_TRUE(at::equal(change("blur 1/32", flat, {1}), flat));
  at::Tensor line = at::zeros({1, 64, 64, 3}, at::kByte);
  line.slice(2, 32, 33).fill_(255);
  const at::Tensor profile = change("blur 1/32", line, {1}).select(0, 0).select(0, 32).select(1, 0).to(at::kFloat);
  EXPECT_NEAR(profile.max().item<double>(), 255 / (2 * 2.5066), 2);  // the peak of a normal of deviation 2
  const at::Tensor warm = change("warm light", flat, {1}).select(1, 0).select(1, 0).select(0, 0);
  EXPECT_EQ(warm[0].item<int>(), 160);
  EXPECT_EQ(warm[1].item<int>(), 128);
  EXPECT_EQ(warm[2].item<int>(), 96);
  EXPECT_TRUE(at::equal(change("grey", flat, {1}), flat));
}

}  // namespace
}  // namespace lowrank::evaluate
