// libvips behind a few lines: owned images, its errors as ours, its warnings to our log. Only .cpp files include this.
#pragma once

#include <memory>
#include <string>
#include <vips/vips.h>

namespace lowrank::data::vips {

/// Starts libvips once in a process: no cache of operations, one thread an image (pictures are what runs in parallel),
/// warnings to lowrank::log instead of stderr. Throws Error{internal} when libvips refuses.
void start();

/// libvips' account of what failed last (the last of its lines); clears it. Threads share it, so it may speak of another image.
std::string take_error();

struct Release {
  void operator()(VipsImage* image) const { g_object_unref(image); }
};
using Image = std::unique_ptr<VipsImage, Release>;

/// The output of one operation, or an empty Image when it failed:
///   vips::Image turned = vips::run([&](VipsImage** out) { return vips_autorot(image.get(), out, nullptr); });
template <class Operation>
Image run(Operation&& operation) {
  VipsImage* out = nullptr;
  return operation(&out) == 0 ? Image(out) : Image();
}

}  // namespace lowrank::data::vips
