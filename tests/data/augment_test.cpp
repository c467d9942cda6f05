#include "lowrank/data/images/augment.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <numeric>

#include "support/expect_error.h"

#include "lowrank/base/error.h"

namespace lowrank::data {
namespace {

constexpr Size kSize{33, 33};
using Pixels = std::vector<uint8_t>;

Pixels flat(uint8_t r, uint8_t g, uint8_t b) {
  Pixels pixels;
  for (int64_t i = 0; i < kSize.area(); ++i) pixels.insert(pixels.end(), {r, g, b});
  return pixels;
}

/// Grey 100 with a white dot of 3 × 3 around (column, row).
Pixels dotted(int64_t column, int64_t row) {
  Pixels pixels = flat(100, 100, 100);
  for (int64_t y = row - 1; y <= row + 1; ++y) {
    for (int64_t x = column - 1; x <= column + 1; ++x) std::fill_n(pixels.begin() + 3 * (y * kSize.width + x), 3, uint8_t{255});
  }
  return pixels;
}

Pixels changed(Pixels pixels, const AugmentOptions& options, uint64_t item, int64_t epoch = 0, uint64_t seed = 42) {
  augment(pixels, kSize, options, seed, epoch, item);
  return pixels;
}

struct Point {
  double x = 0, y = 0;
  double length() const { return std::hypot(x, y); }
};

/// Where the light is, from the centre: the mean place of what is over 110.
Point light(const Pixels& pixels) {
  double sum = 0;
  Point at;
  for (int64_t i = 0; i < kSize.area(); ++i) {
    const double weight = std::max(0, pixels[static_cast<size_t>(3 * i)] - 110);
    sum += weight;
    at.x += weight * static_cast<double>(i % kSize.width - kSize.width / 2);
    at.y += weight * static_cast<double>(i / kSize.width - kSize.height / 2);
  }
  return {at.x / sum, at.y / sum};
}

struct Range {
  double low = 1e9, high = -1e9;
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

/// What `measure` gives over many items.
template <class F>
Range range_of(const Pixels& pixels, const AugmentOptions& options, F&& measure) {
  Range range;
  for (uint64_t item = 0; item < 200; ++item) range.add(measure(changed(pixels, options, item)));
  return range;
}

AugmentOptions everything() {
  return {.flip = true,
          .rotate = 20,
          .shift = 0.1,
          .zoom = 0.3,
          .brightness = 0.3,
          .contrast = 0.3,
          .saturation = 0.4,
          .hue = 0.1,
          .grey = 0.2,
          .blur = 0.3,
          .noise = 0.1,
          .erase = 0.3,
          .mix = 0.4};
}

TEST(AugmentTest, WithoutAChangeEveryByteStays) {
  EXPECT_FALSE(AugmentOptions{}.any());
  EXPECT_EQ(to_text({}), "");
  Pixels pixels(static_cast<size_t>(3 * kSize.area()));
  std::iota(pixels.begin(), pixels.end(), 0);
  for (uint64_t item = 0; item < 5; ++item) EXPECT_EQ(changed(pixels, {}, item), pixels);
}

TEST(AugmentTest, SeedEpochAndItemDecideAndNothingElse) {
  const Pixels pixels = dotted(20, 12);
  const AugmentOptions all = everything();
  EXPECT_EQ(changed(pixels, all, 7, 3), changed(pixels, all, 7, 3));
  EXPECT_NE(changed(pixels, all, 7, 3), changed(pixels, all, 8, 3));
  EXPECT_NE(changed(pixels, all, 7, 3), changed(pixels, all, 7, 4));
  EXPECT_NE(changed(pixels, all, 7, 3), changed(pixels, all, 7, 3, 43));
}

TEST(AugmentTest, OneChangeDoesNotMoveAnothersDraws) {
  const Pixels pixels = dotted(26, 16);
  for (uint64_t item = 0; item < 20; ++item) {
    const Point alone = light(changed(pixels, {.rotate = 45}, item));
    const Point grey = light(changed(pixels, {.rotate = 45, .saturation = 0.5, .grey = 1}, item));
    EXPECT_NEAR(alone.x, grey.x, 1e-9);
    EXPECT_NEAR(alone.y, grey.y, 1e-9);
  }
}

TEST(AugmentTest, FlipMirrorsHalfOfTheShowings) {
  int mirrored = 0;
  for (uint64_t item = 0; item < 200; ++item) {
    const Pixels shown = changed(dotted(26, 16), {.flip = true}, item);
    if (shown == dotted(26, 16)) continue;
    EXPECT_EQ(shown, dotted(6, 16));
    ++mirrored;
  }
  EXPECT_NEAR(mirrored, 100, 25);
}

TEST(AugmentTest, RotationTurnsBothWaysUpToItsBound) {
  const AugmentOptions options{.rotate = 30};
  const Pixels dot = dotted(26, 16);  // 10 right of the centre
  const auto angle = [](const Pixels& p) { return std::atan2(light(p).y, light(p).x) * 180 / 3.14159265; };
  const Range degrees = range_of(dot, options, angle), radius = range_of(dot, options, [](const Pixels& p) { return light(p).length(); });
  EXPECT_NEAR(degrees.low, -29, 2);
  EXPECT_NEAR(degrees.high, 29, 2);
  EXPECT_NEAR(radius.low, 10, 0.2);
  EXPECT_NEAR(radius.high, 10, 0.2);
}

TEST(AugmentTest, ShiftAndZoomMoveAndScale) {
  const Range right = range_of(dotted(16, 16), {.shift = 0.2}, [](const Pixels& p) { return light(p).x; });
  const Range down = range_of(dotted(16, 16), {.shift = 0.2}, [](const Pixels& p) { return light(p).y; });
  for (const Range& range : {right, down}) {
    EXPECT_NEAR(range.low, -6.5, 0.3);  // 0.2 · 33 = 6.6
    EXPECT_NEAR(range.high, 6.5, 0.3);
  }
  const Range away = range_of(dotted(26, 16), {.zoom = 0.4}, [](const Pixels& p) { return light(p).x; });
  EXPECT_NEAR(away.low, 10 / 1.4, 0.3);
  EXPECT_NEAR(away.high, 10 * 1.4, 0.3);
}

TEST(AugmentTest, LightAndContrastScaleAroundTheirCentres) {
  const auto first = [](const Pixels& p) { return static_cast<double>(p[0]); };
  const Range light = range_of(flat(100, 100, 100), {.brightness = 0.4}, first);
  EXPECT_NEAR(light.low, 60, 2);
  EXPECT_NEAR(light.high, 140, 2);
  Pixels halves = flat(50, 50, 50);
  std::fill(halves.begin() + static_cast<int64_t>(halves.size()) / 2, halves.end(), uint8_t{150});
  const auto distance = [](const Pixels& p) { return static_cast<double>(p.back() - p.front()); };
  const Range contrast = range_of(halves, {.contrast = 0.4}, distance);
  EXPECT_NEAR(contrast.low, 60, 3);
  EXPECT_NEAR(contrast.high, 140, 3);
  EXPECT_EQ(changed(flat(77, 77, 77), {.contrast = 0.9, .saturation = 0.9, .hue = 0.5}, 3), flat(77, 77, 77));  // greys have neither
}

TEST(AugmentTest, ColoursFadeTurnAndGo) {
  const auto spread = [](const Pixels& p) { return static_cast<double>(p[0] - p[2]); };
  const Range saturation = range_of(flat(140, 100, 60), {.saturation = 0.5}, spread);
  EXPECT_NEAR(saturation.low, 40, 2);
  EXPECT_NEAR(saturation.high, 120, 2);
  EXPECT_EQ(changed(flat(200, 100, 50), {.grey = 1}, 5), flat(124, 124, 124));  // 0.299·200 + 0.587·100 + 0.114·50 = 124.2
  double third = 0;
  for (uint64_t item = 0; item < 400; ++item) {
    const Pixels p = changed(flat(160, 80, 80), {.hue = 0.5}, item);
    if (p[1] > p[0] + 60 && p[1] > p[2] + 60) ++third;  // red has become green
  }
  EXPECT_GT(third, 20);
  for (uint64_t item = 0; item < 50; ++item) {
    const Pixels p = changed(flat(160, 80, 80), {.hue = 0.05}, item);
    EXPECT_GT(p[0], p[1] + 50);  // a twentieth of the circle leaves it red
    EXPECT_NEAR(p[0] + p[1] + p[2], 320, 2);
  }
}

TEST(AugmentTest, BlurSpreadsAndNoiseIsAsLargeAsItSays) {
  EXPECT_EQ(changed(flat(9, 99, 199), {.blur = 1}, 1), flat(9, 99, 199));
  const auto peak = [](const Pixels& p) { return static_cast<double>(*std::max_element(p.begin(), p.end())); };
  const Range blurred = range_of(dotted(16, 16), {.blur = 1}, peak);
  EXPECT_LT(blurred.low, 240);  // deviation 1.03 over three pixels: 100 + 155·0.85² = 212
  EXPECT_GT(blurred.low, 205);
  const auto deviation = [](const Pixels& p) {
    double sum = 0;
    for (const uint8_t value : p) sum += (value - 128.0) * (value - 128.0);
    return std::sqrt(sum / static_cast<double>(p.size()));
  };
  const Range noise = range_of(flat(128, 128, 128), {.noise = 0.1}, deviation);
  EXPECT_LT(noise.low, 2);
  EXPECT_NEAR(noise.high, 25.3, 1.2);
}

TEST(AugmentTest, ErasingHidesOneRectangle) {
  const Pixels before = flat(128, 128, 128);
  int hidden = 0;
  for (uint64_t item = 0; item < 200; ++item) {
    const Pixels after = changed(before, {.erase = 0.5}, item);
    int64_t count = 0, left = kSize.width, right = -1, top = kSize.height, bottom = -1;
    for (int64_t i = 0; i < kSize.area(); ++i) {
      if (std::equal(after.begin() + 3 * i, after.begin() + 3 * i + 3, before.begin())) continue;
      ++count;
      left = std::min(left, i % kSize.width), right = std::max(right, i % kSize.width);
      top = std::min(top, i / kSize.width), bottom = std::max(bottom, i / kSize.width);
    }
    if (count == 0) continue;
    ++hidden;
    EXPECT_EQ(count, (right - left + 1) * (bottom - top + 1));
    EXPECT_NEAR(static_cast<double>(count) / static_cast<double>(kSize.area()), 0.11, 0.11);
  }
  EXPECT_NEAR(hidden, 100, 25);
}

TEST(AugmentTest, MixturesAreOfAnyRowAndShare) {
  const AugmentOptions options{.mix = 0.5};
  int mixed = 0;
  Range rows, shares;
  for (uint64_t item = 0; item < 400; ++item) {
    const Mixture one = mixture(options, 10, 42, 3, item);
    EXPECT_EQ(one.share, mixture(options, 10, 42, 3, item).share);
    if (one.share == 0) continue;
    ++mixed;
    rows.add(static_cast<double>(one.row));
    shares.add(one.share);
  }
  EXPECT_NEAR(mixed, 200, 40);
  EXPECT_EQ((std::pair{rows.low, rows.high}), (std::pair{0.0, 9.0}));
  EXPECT_LT(shares.low, 0.1);
  EXPECT_GT(shares.high, 0.9);
  EXPECT_EQ(mixture({}, 10, 42, 3, 1).share, 0);
  Pixels pixels = flat(100, 0, 200);
  blend(pixels, flat(200, 10, 200), 0.3F);
  EXPECT_EQ(pixels, flat(130, 3, 200));
}

TEST(AugmentTest, OptionsAreNamedAndBounded) {
  AugmentOptions options;
  OptionTable table;
  declare(table, options);
  table.apply({{"rotate", 15}, {"hue", 0.05}}, "test");
  EXPECT_TRUE(options.any());
  EXPECT_NE(to_text(options), to_text(everything()));
  EXPECT_LOWRANK_ERROR(table.apply({{"hue", 0.6}}, "test"), ErrorKind::invalid_argument, "0 to 0.5");
}

}  // namespace
}  // namespace lowrank::data
