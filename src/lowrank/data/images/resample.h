// Changing a picture's size, the two ways that trainers use. Ours, so that equal pixels come from every libvips.
#pragma once

#include <cstdint>
#include <vector>

#include "lowrank/data/images/picture.h"

namespace lowrank::data {

/// `area`: every output sample is the mean of the source rectangle under it, parts of pixels counted by their share
/// (OpenCV's INTER_AREA when shrinking). `lanczos`: windowed sinc of three lobes, widened by the scale when shrinking, rows
/// first, rounded to 8 bits between the passes (Pillow's LANCZOS; at most 1 apart).
enum class Filter { area, lanczos };

/// kohya's choice: area when neither side grows, else lanczos.
Filter choose_filter(Size from, Size to);

/// `samples` [from.height, from.width, channels] as [to.height, to.width, channels]. Unchanged when the sizes are equal.
/// Throws Error{internal} for an empty size or samples that do not fit it.
std::vector<uint8_t> resample(const std::vector<uint8_t>& samples, Size from, Size to, int64_t channels, Filter filter);

}  // namespace lowrank::data
