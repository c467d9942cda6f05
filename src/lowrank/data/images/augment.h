// Training pictures, a little different each time that they are shown: turned, moved, in other light and colours, partly hidden.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "lowrank/base/options.h"
#include "lowrank/data/images/picture.h"

namespace lowrank::data {

/// How far a change may go, 0 being none. What is not a chance is drawn anew for each showing, evenly over the range.
struct AugmentOptions {
  bool flip = false;                                    // every other picture mirrored
  double rotate = 0;                                    // degrees, either way
  double shift = 0;                                     // of the side, each way
  double zoom = 0;                                      // factor from 1/(1 + zoom) to 1 + zoom
  double brightness = 0, contrast = 0, saturation = 0;  // factor from 1 − x to 1 + x
  double hue = 0;                                       // of the colour circle, either way
  double grey = 0;                                      // chance of no colour
  double blur = 0;                                      // chance of a Gaussian blur of deviation up to 1/32 of the width
  double noise = 0;                                     // deviation of normal noise, of the range of a pixel
  double erase = 0;                                     // chance that a rectangle of one colour hides 2 to 20 % of the picture
  double mix = 0;                                       // chance that another training picture shows through

  bool any() const;
};

/// Adds the group "Augmentation" to `table`.
void declare(OptionTable& table, AugmentOptions& options);

/// The options as one line of JSON, for fingerprints; "" when nothing changes.
std::string to_text(const AugmentOptions& options);

/// Changes `rgb` [height, width, 3], 8-bit, in place, as a function of it, the options and (seed, epoch, item) alone; the draws of one
/// change do not depend on the others' options. In this order: mirrored; turned, zoomed and moved about the centre in one bilinear
/// sampling, edges repeated; colours by one map b·(c·K·x + (1 − c)·m), where K turns hues about the grey axis and scales the distance
/// from a pixel's own grey (ITU-R BT.601), and m is the picture's mean grey; blurred; noise; a rectangle of random shape (sides 1:3 to
/// 3:1), place and colour. Rounded to 8 bits once. Options without a change leave every byte.
void augment(std::span<uint8_t> rgb, Size size, const AugmentOptions& options, uint64_t seed, int64_t epoch, uint64_t item);

/// Mixup (Zhang et al., arXiv 1710.09412, with α = 1): the picture is (1 − share)·itself + share·the one of training row `row`, and so is
/// its loss. share is 0 with chance 1 − options.mix, else uniform below 1.
struct Mixture {
  int64_t row = 0;
  float share = 0;
};
/// Of one of `rows` training rows, as a function of (seed, epoch, item) alone.
Mixture mixture(const AugmentOptions& options, int64_t rows, uint64_t seed, int64_t epoch, uint64_t item);

/// rgb ← (1 − share)·rgb + share·other, rounded to 8 bits.
void blend(std::span<uint8_t> rgb, std::span<const uint8_t> other, float share);

}  // namespace lowrank::data
