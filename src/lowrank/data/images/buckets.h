// Aspect-ratio buckets: which size a picture trains at, and what is scaled and cut to get there. kohya's rules, so that a
// set gives the same buckets here as in sd-scripts (library/train_util.py, BucketManager; library/model_util.py).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lowrank/data/images/picture.h"

namespace lowrank::data {

struct BucketOptions {
  Size resolution = {512, 512};  // its area is what a picture may have
  int64_t min_side = 256, max_side = 1024, step = 64;
  bool enabled = true;      // false: every picture is scaled to cover `resolution` and cut to it
  bool no_upscale = false;  // never enlarge: the bucket follows the picture, rounded down to the step
};

/// What becomes of one picture: scaled to `resized`, then bucket-sized from (left, top).
struct Placement {
  Size bucket, resized;
  int64_t left = 0, top = 0;

  bool operator==(const Placement&) const = default;
  /// Share of the scaled picture that is cut away, 0 … 1.
  double cropped() const { return 1 - static_cast<double>(bucket.area()) / static_cast<double>(resized.area()); }
  /// How many times as wide it becomes: above 1 it is enlarged.
  double scale(Size picture) const { return static_cast<double>(resized.width) / static_cast<double>(picture.width); }
};

class Buckets {
 public:
  /// The set: the square of floor(√area / step)·step, and for every width of min, min + step, … max the height
  /// min(max, ⌊area / width / step⌋·step) if that is at least min, in both orientations, sorted by width and height.
  /// Throws Error{invalid_argument} for sides that make no bucket: below 1, min over max, max below the resolution,
  /// or a resolution smaller than one step.
  explicit Buckets(BucketOptions options);

  const std::vector<Size>& sizes() const { return sizes_; }

  /// The bucket of equal size, else of the nearest aspect ratio (the first such in the set's order), covered and cut at the
  /// centre. With no_upscale: scaled down only if over the area, to a width or height of whole steps, whichever keeps the
  /// aspect ratio better, then cut to whole steps. Throws Error{invalid_argument} naming `where` when the picture is smaller
  /// than one step there.
  Placement place(Size picture, const std::string& where) const;

 private:
  Placement place_smaller(Size picture, const std::string& where) const;

  BucketOptions options_;
  std::vector<Size> sizes_;
};

}  // namespace lowrank::data
