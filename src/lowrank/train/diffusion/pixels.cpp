#include "lowrank/train/diffusion/pixels.h"

#include <ATen/ops/from_blob.h>

namespace lowrank::train {

at::Tensor planes(const std::vector<uint8_t>& bytes, data::Size size, int64_t channels) {
  const at::Tensor view = at::from_blob(const_cast<uint8_t*>(bytes.data()), {1, size.height, size.width, channels}, at::kByte);
  return view.to(at::kFloat).permute({0, 3, 1, 2}).contiguous();
}

at::Tensor PixelCache::at(int64_t place, bool mirrored) {
  if (const auto found = kept_.find({place, mirrored}); found != kept_.end()) return to_pixels(found->second.rgb, found->second.size);
  data::Picture picture = set_.prepare(place, options_, mirrored).picture;
  at::Tensor pixels = to_pixels(picture.rgb, picture.size);
  const auto bytes = static_cast<int64_t>(picture.rgb.size());
  if (bytes <= room_) {
    room_ -= bytes;
    kept_[{place, mirrored}] = std::move(picture);
  }
  return pixels;
}

}  // namespace lowrank::train
