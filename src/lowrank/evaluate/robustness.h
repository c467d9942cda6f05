// How well a model of pictures does when the conditions change: turned, noisy, blurred, of other colours.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace lowrank::evaluate {

/// uint8 [B, height, width, 3] → the same, of the samples with these ids. A function of both alone.
using PictureChange = std::function<at::Tensor(const at::Tensor& pixels, std::span<const int64_t> samples)>;

struct Condition {
  std::string_view name;  // "rotation 15°"
  PictureChange change;
};

/// rotation by ±15° and ±30° about the centre (bilinear, edges repeated; the sign is the sample's), normal noise of deviation 0.1 and
/// 0.2 of the range, Gaussian blur of deviation 1/64 and 1/32 of the width, half the brightness, no colour, and warm light (red × 1.25,
/// blue × 0.75). All in 8 bit.
std::span<const Condition> conditions();

}  // namespace lowrank::evaluate
