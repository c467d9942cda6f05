#include "lowrank/data/images/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "lowrank/base/random.h"
#include "lowrank/data/images/prepare_picture.h"

namespace lowrank::data {

namespace {

using Matrix = std::array<std::array<double, 3>, 3>;
constexpr std::array<double, 3> kLuma = {0.299, 0.587, 0.114};  // ITU-R BT.601
constexpr double kMostBlur = 1.0 / 32, kLeastErased = 0.02, kMostErased = 0.2, kLongestErased = 3;

/// A picture being changed: [height, width, 3], 0 to 255.
struct Canvas {
  Size size;
  std::vector<float> x;

  float* pixel(int64_t row, int64_t column) { return x.data() + 3 * (row * size.width + column); }
  /// The nearest pixel there is.
  const float* edge(int64_t row, int64_t column) const {
    return x.data() + 3 * (std::clamp<int64_t>(row, 0, size.height - 1) * size.width + std::clamp<int64_t>(column, 0, size.width - 1));
  }
};

/// What was drawn for one showing; each change takes its numbers, used or not.
class Draws {
 public:
  Draws(uint64_t seed, int64_t epoch, uint64_t item) : stream_(seed, "augment", static_cast<uint64_t>(epoch), item) {}

  double either_way(double most) { return most * (2 * stream_.uniform() - 1); }
  double factor(double most) { return 1 + either_way(most); }
  double ratio(double most) { return std::pow(most, 2 * stream_.uniform() - 1); }  // from 1/most to most
  double between(double low, double high) { return low + (high - low) * stream_.uniform(); }
  bool chance(double p) { return stream_.uniform() < p; }

 private:
  RandomStream stream_;
};

void mirror(std::span<uint8_t> rgb, Size size) {
  for (int64_t row = 0; row < size.height; ++row) {
    uint8_t* left = rgb.data() + 3 * row * size.width;
    for (uint8_t* right = left + 3 * (size.width - 1); left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
  }
}

/// Where a picture's points come from: turned by `angle`, then larger by `zoom`, then moved by right and down, in pixels.
struct View {
  double angle = 0, zoom = 1, right = 0, down = 0;
};

Canvas seen(const Canvas& from, const View& view) {
  Canvas to{from.size, std::vector<float>(from.x.size())};
  const double middle_x = static_cast<double>(from.size.width - 1) / 2, middle_y = static_cast<double>(from.size.height - 1) / 2;
  const double c = std::cos(view.angle) / view.zoom, s = std::sin(view.angle) / view.zoom;
  for (int64_t row = 0; row < from.size.height; ++row) {
    for (int64_t column = 0; column < from.size.width; ++column) {
      const double x = static_cast<double>(column) - middle_x - view.right, y = static_cast<double>(row) - middle_y - view.down;
      const double at_x = middle_x + c * x + s * y, at_y = middle_y - s * x + c * y;
      const auto left = static_cast<int64_t>(std::floor(at_x)), top = static_cast<int64_t>(std::floor(at_y));
      const auto dx = static_cast<float>(at_x - std::floor(at_x)), dy = static_cast<float>(at_y - std::floor(at_y));
      const float *a = from.edge(top, left), *b = from.edge(top, left + 1), *d = from.edge(top + 1, left),
                  *e = from.edge(top + 1, left + 1);
      float* out = to.pixel(row, column);
      for (int64_t i = 0; i < 3; ++i) out[i] = (1 - dy) * ((1 - dx) * a[i] + dx * b[i]) + dy * ((1 - dx) * d[i] + dx * e[i]);
    }
  }
  return to;
}

/// K: hues turned by `angle` about (1, 1, 1), distances from grey times `saturation`.
Matrix colour_matrix(double saturation, double angle) {
  const double c = std::cos(angle), along = (1 - c) / 3, across = std::sin(angle) / std::numbers::sqrt3;
  const Matrix turn = {{{c + along, along - across, along + across},
                        {along + across, c + along, along - across},
                        {along - across, along + across, c + along}}};
  Matrix k{};
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) {
      const double luma = kLuma[0] * turn[0][j] + kLuma[1] * turn[1][j] + kLuma[2] * turn[2][j];
      k[i][j] = luma + saturation * (turn[i][j] - luma);
    }
  }
  return k;
}

void recolour(Canvas& canvas, double brightness, double contrast, const Matrix& k) {
  double grey = 0;
  for (size_t i = 0; i < canvas.x.size(); ++i) grey += kLuma[i % 3] * canvas.x[i];
  grey /= static_cast<double>(canvas.size.area());
  for (size_t at = 0; at < canvas.x.size(); at += 3) {
    const std::array<double, 3> rgb = {canvas.x[at], canvas.x[at + 1], canvas.x[at + 2]};
    for (size_t i = 0; i < 3; ++i) {
      const double mapped = k[i][0] * rgb[0] + k[i][1] * rgb[1] + k[i][2] * rgb[2];
      canvas.x[at + i] = static_cast<float>(std::clamp(brightness * (contrast * mapped + (1 - contrast) * grey), 0.0, 255.0));
    }
  }
}

/// Gaussian of `deviation` pixels along one axis.
Canvas blurred(const Canvas& from, double deviation, bool across) {
  const auto reach = static_cast<int64_t>(std::ceil(3 * deviation));
  std::vector<float> line;
  float sum = 0;
  for (int64_t i = -reach; i <= reach; ++i) {
    line.push_back(static_cast<float>(std::exp(-static_cast<double>(i * i) / (2 * deviation * deviation))));
    sum += line.back();
  }
  Canvas to{from.size, std::vector<float>(from.x.size())};
  for (int64_t row = 0; row < from.size.height; ++row) {
    for (int64_t column = 0; column < from.size.width; ++column) {
      float* out = to.pixel(row, column);
      for (int64_t i = -reach; i <= reach; ++i) {
        const float* in = from.edge(across ? row : row + i, across ? column + i : column);
        const float weight = line[static_cast<size_t>(i + reach)] / sum;
        for (int64_t j = 0; j < 3; ++j) out[j] += weight * in[j];
      }
    }
  }
  return to;
}

/// A rectangle of `share` of the area, `shape` times as wide as high; `x` and `y` from 0 to 1 say where.
void hide(Canvas& canvas, double share, double shape, double x, double y, const std::array<float, 3>& colour) {
  const auto side = [&](double wanted, int64_t most) { return std::clamp<int64_t>(std::llround(wanted), 1, most); };
  const double area = share * static_cast<double>(canvas.size.area());
  const int64_t width = side(std::sqrt(area * shape), canvas.size.width), height = side(std::sqrt(area / shape), canvas.size.height);
  const auto left = static_cast<int64_t>(x * static_cast<double>(canvas.size.width - width + 1));
  const auto top = static_cast<int64_t>(y * static_cast<double>(canvas.size.height - height + 1));
  for (int64_t row = top; row < top + height; ++row) {
    for (int64_t column = left; column < left + width; ++column) std::copy(colour.begin(), colour.end(), canvas.pixel(row, column));
  }
}

void change_place(Canvas& canvas, const AugmentOptions& options, Draws& draws) {
  const View view{.angle = draws.either_way(options.rotate) * std::numbers::pi / 180,
                  .zoom = draws.ratio(1 + options.zoom),
                  .right = draws.either_way(options.shift) * static_cast<double>(canvas.size.width),
                  .down = draws.either_way(options.shift) * static_cast<double>(canvas.size.height)};
  if (options.rotate != 0 || options.zoom != 0 || options.shift != 0) canvas = seen(canvas, view);
}

void change_colour(Canvas& canvas, const AugmentOptions& options, Draws& draws) {
  const double brightness = draws.factor(options.brightness), contrast = draws.factor(options.contrast);
  const double saturation = draws.factor(options.saturation), hue = draws.either_way(options.hue);
  const bool is_grey = draws.chance(options.grey);
  if (brightness == 1 && contrast == 1 && saturation == 1 && hue == 0 && !is_grey) return;
  recolour(canvas, brightness, contrast, colour_matrix(is_grey ? 0 : saturation, 2 * std::numbers::pi * hue));
}

void change_sharpness(Canvas& canvas, const AugmentOptions& options, Draws& draws) {
  const bool is_blurred = draws.chance(options.blur);
  const double deviation = draws.between(0.1, 1) * kMostBlur * static_cast<double>(canvas.size.width);
  if (is_blurred) canvas = blurred(blurred(canvas, deviation, true), deviation, false);
}

void change_visible(Canvas& canvas, const AugmentOptions& options, Draws& draws) {
  const bool is_hidden = draws.chance(options.erase);
  const double share = draws.between(kLeastErased, kMostErased), shape = draws.ratio(kLongestErased);
  const double x = draws.between(0, 1), y = draws.between(0, 1);
  std::array<float, 3> colour{};
  for (float& value : colour) value = static_cast<float>(draws.between(0, 255));
  if (is_hidden) hide(canvas, share, shape, x, y, colour);
}

}  // namespace

bool AugmentOptions::any() const {
  return flip || rotate != 0 || shift != 0 || zoom != 0 || brightness != 0 || contrast != 0 || saturation != 0 || hue != 0 || grey != 0 ||
         blur != 0 || noise != 0 || erase != 0 || mix != 0;
}

void declare(OptionTable& table, AugmentOptions& options) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Augmentation");
  };
  add("flip", options.flip, "show every other training picture mirrored, at random");
  add("rotate", options.rotate, "degrees that a training picture may be turned by, either way").range(0, 180);
  add("shift", options.shift, "share of the side that it may be moved by, each way").range(0, 1);
  add("zoom", options.zoom, "it may be 1/(1 + zoom) to 1 + zoom times as large").range(0, 4);
  add("brightness", options.brightness, "its brightness may be 1 - x to 1 + x times as high").range(0, 1);
  add("contrast", options.contrast, "its contrast likewise").range(0, 1);
  add("saturation", options.saturation, "the strength of its colours likewise").range(0, 1);
  add("hue", options.hue, "share of the colour circle that its hues may be turned by, either way").range(0, 0.5);
  add("grey", options.grey, "chance that it is shown without colour").range(0, 1);
  add("blur", options.blur, "chance that it is blurred, by up to 1/32 of its width").range(0, 1);
  add("noise", options.noise, "deviation that normal noise in it may have, of a pixel's range").range(0, 1);
  add("erase", options.erase, "chance that a rectangle of one colour hides 2 to 20 % of it").range(0, 1);
  add("mix", options.mix, "chance that another training picture shows through it, and counts by its share").range(0, 1);
}

std::string to_text(const AugmentOptions& options) {
  if (!options.any()) return {};
  return format_json_line(resolved(options));
}

void augment(std::span<uint8_t> rgb, Size size, const AugmentOptions& options, uint64_t seed, int64_t epoch, uint64_t item) {
  if (options.flip && is_mirrored(seed, epoch, item)) mirror(rgb, size);
  Canvas canvas{size, {rgb.begin(), rgb.end()}};
  Draws draws(seed, epoch, item);
  change_place(canvas, options, draws);
  change_colour(canvas, options, draws);
  change_sharpness(canvas, options, draws);
  const double deviation = 255 * draws.between(0, options.noise);
  if (deviation > 0) {
    RandomStream noise(seed, "augment noise", static_cast<uint64_t>(epoch), item);
    for (float& value : canvas.x) value += static_cast<float>(deviation * noise.normal());
  }
  change_visible(canvas, options, draws);
  std::transform(canvas.x.begin(), canvas.x.end(), rgb.begin(),
                 [](float value) { return static_cast<uint8_t>(std::lround(std::clamp(value, 0.0F, 255.0F))); });
}

Mixture mixture(const AugmentOptions& options, int64_t rows, uint64_t seed, int64_t epoch, uint64_t item) {
  if (options.mix == 0) return {};
  RandomStream stream(seed, "mix", static_cast<uint64_t>(epoch), item);
  const bool mixed = stream.uniform() < options.mix;
  const auto row = static_cast<int64_t>(stream.below(static_cast<uint64_t>(rows)));
  return {row, mixed ? static_cast<float>(stream.uniform()) : 0.0F};
}

void blend(std::span<uint8_t> rgb, std::span<const uint8_t> other, float share) {
  std::transform(rgb.begin(), rgb.end(), other.begin(), rgb.begin(), [share](uint8_t own, uint8_t with) {
    return static_cast<uint8_t>(std::lround((1 - share) * static_cast<float>(own) + share * static_cast<float>(with)));
  });
}

}  // namespace lowrank::data
