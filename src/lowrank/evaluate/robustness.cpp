#include "lowrank/evaluate/robustness.h"

#include <ATen/ops/affine_grid_generator.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/grid_sampler.h>
#include <ATen/ops/replication_pad2d.h>
#include <ATen/ops/tensor.h>
#include <array>
#include <cmath>
#include <numbers>

#include "lowrank/tensor/random.h"

namespace lowrank::evaluate {

namespace {

constexpr uint64_t kSeed = 42;

/// [B, 3, height, width] of 0 … 1.
at::Tensor to_shares(const at::Tensor& pixels) { return pixels.permute({0, 3, 1, 2}).to(at::kFloat) / 255; }
at::Tensor to_pixels(const at::Tensor& shares) {
  return (shares.clamp(0, 1) * 255).round().to(at::kByte).permute({0, 2, 3, 1}).contiguous();
}

PictureChange rotated(double degrees) {
  return [degrees](const at::Tensor& pixels, std::span<const int64_t> samples) {
    const at::Tensor x = to_shares(pixels);
    const double aspect = static_cast<double>(x.size(2)) / static_cast<double>(x.size(3));
    std::vector<float> rows;
    for (const int64_t sample : samples) {
      const bool left = RandomStream(kSeed, "rotation", 0, static_cast<uint64_t>(sample)).below(2) == 0;
      const double angle = (left ? -degrees : degrees) * std::numbers::pi / 180, c = std::cos(angle), s = std::sin(angle);
      // In coordinates of −1 … 1 on both sides.
      for (const double value : {c, -s * aspect, 0.0, s / aspect, c, 0.0}) rows.push_back(static_cast<float>(value));
    }
    const at::Tensor theta = at::tensor(rows).view({-1, 2, 3});
    const at::Tensor grid = at::affine_grid_generator(theta, x.sizes(), /*align_corners=*/false);
    return to_pixels(at::grid_sampler(x, grid, /*bilinear*/ 0, /*border*/ 1, /*align_corners=*/false));
  };
}

PictureChange noisy(double deviation) {
  return [deviation](const at::Tensor& pixels, std::span<const int64_t> samples) {
    const at::Tensor x = to_shares(pixels);
    at::Tensor noise = at::empty(x.sizes());
    for (size_t i = 0; i < samples.size(); ++i) {
      at::Tensor one = noise.select(0, static_cast<int64_t>(i));
      tensor::fill_normal_(one, 0, deviation, RandomStream(kSeed, "noise", 0, static_cast<uint64_t>(samples[i])));
    }
    return to_pixels(x + noise);
  };
}

PictureChange blurred(double share_of_width) {
  return [share_of_width](const at::Tensor& pixels, std::span<const int64_t> /*samples*/) {
    const at::Tensor x = to_shares(pixels);
    const double deviation = share_of_width * static_cast<double>(x.size(3));
    const auto reach = static_cast<int64_t>(std::ceil(3 * deviation));
    at::Tensor line = (-at::arange(-reach, reach + 1).to(at::kFloat).square() / (2 * deviation * deviation)).exp();
    line = line / line.sum();
    const at::Tensor across = line.view({1, 1, 1, -1}).expand({3, 1, 1, -1}), down = line.view({1, 1, -1, 1}).expand({3, 1, -1, 1});
    const at::Tensor padded = at::replication_pad2d(x, {reach, reach, reach, reach});
    const std::array<int64_t, 2> one = {1, 1}, none = {0, 0};
    const auto pass = [&](const at::Tensor& from, const at::Tensor& kernel) {
      return at::conv2d(from, kernel, {}, at::IntArrayRef(one), at::IntArrayRef(none), at::IntArrayRef(one), /*groups=*/3);
    };
    return to_pixels(pass(pass(padded, across), down));
  };
}

PictureChange tinted(std::array<float, 3> gains) {
  return [gains](const at::Tensor& pixels, std::span<const int64_t> /*samples*/) {
    return to_pixels(to_shares(pixels) * at::tensor(at::ArrayRef<float>(gains)).view({3, 1, 1}));
  };
}

at::Tensor grey(const at::Tensor& pixels, std::span<const int64_t> /*samples*/) {
  const std::array<float, 3> luma = {0.299F, 0.587F, 0.114F};  // ITU-R BT.601
  const at::Tensor x = to_shares(pixels);
  return to_pixels((x * at::tensor(at::ArrayRef<float>(luma)).view({3, 1, 1})).sum(1, /*keepdim=*/true).expand_as(x));
}

}  // namespace

std::span<const Condition> conditions() {
  static const std::array<Condition, 9> table = {{{"rotation 15°", rotated(15)},
                                                  {"rotation 30°", rotated(30)},
                                                  {"noise 0.1", noisy(0.1)},
                                                  {"noise 0.2", noisy(0.2)},
                                                  {"blur 1/64", blurred(1.0 / 64)},
                                                  {"blur 1/32", blurred(1.0 / 32)},
                                                  {"half brightness", tinted({0.5F, 0.5F, 0.5F})},
                                                  {"grey", grey},
                                                  {"warm light", tinted({1.25F, 1.0F, 0.75F})}}};
  return table;
}

}  // namespace lowrank::evaluate
