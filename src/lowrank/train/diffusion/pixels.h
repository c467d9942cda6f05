// Pictures' bytes as tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <map>
#include <vector>

#include "lowrank/data/images/image_set.h"

namespace lowrank::train {

/// Bytes [height, width, channels] as float32 [1, channels, height, width] of 0 … 255.
at::Tensor planes(const std::vector<uint8_t>& bytes, data::Size size, int64_t channels);

/// RGB bytes as an autoencoder takes them: float32 [1, 3, height, width] in [−1, 1].
inline at::Tensor to_pixels(const std::vector<uint8_t>& rgb, data::Size size) { return planes(rgb, size, 3) / 127.5 - 1; }

/// Pictures of a set, decoded once while they fit in `kept_bytes`.
class PixelCache {
 public:
  /// All must outlive this.
  PixelCache(const data::ImageSet& set, const data::ImageDataOptions& options, int64_t kept_bytes = int64_t{1} << 30)
      : set_(set), options_(options), room_(kept_bytes) {}

  /// to_pixels() of the picture at `place`. Throws what reading it throws.
  at::Tensor at(int64_t place, bool mirrored);

 private:
  const data::ImageSet& set_;
  const data::ImageDataOptions& options_;
  int64_t room_;
  std::map<std::pair<int64_t, bool>, data::Picture> kept_;  // by place and side
};

}  // namespace lowrank::train
