#include "lowrank/data/images/buckets.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "lowrank/base/error.h"

namespace lowrank::data {

namespace {

std::vector<Size> make_sizes(const BucketOptions& options) {
  if (!options.enabled) return {options.resolution};
  const int64_t area = options.resolution.area(), step = options.step;
  const auto whole_steps = [step](int64_t length) { return length / step * step; };
  const int64_t square = whole_steps(static_cast<int64_t>(std::sqrt(static_cast<double>(area))));
  std::set<Size> sizes = {{square, square}};
  for (int64_t width = options.min_side; width <= options.max_side; width += step) {
    const int64_t height = std::min(options.max_side, whole_steps(area / width));
    if (height < options.min_side) continue;
    sizes.insert({width, height});
    sizes.insert({height, width});
  }
  return {sizes.begin(), sizes.end()};
}

double aspect(Size size) { return static_cast<double>(size.width) / static_cast<double>(size.height); }

int64_t nearest(double value) { return static_cast<int64_t>(value + 0.5); }

Placement centred(Size bucket, Size resized) {
  return {bucket, resized, (resized.width - bucket.width) / 2, (resized.height - bucket.height) / 2};
}

Placement cover(Size bucket, Size picture) {
  const double scale = aspect(picture) > aspect(bucket) ? static_cast<double>(bucket.height) / static_cast<double>(picture.height)
                                                        : static_cast<double>(bucket.width) / static_cast<double>(picture.width);
  return centred(bucket, {nearest(static_cast<double>(picture.width) * scale), nearest(static_cast<double>(picture.height) * scale)});
}

}  // namespace

Buckets::Buckets(BucketOptions options) : options_(options) {
  const auto& [width, height] = options.resolution;
  check(width >= 1 && height >= 1 && options.step >= 1, ErrorKind::invalid_argument, "buckets",
        "expected a resolution and step of at least 1, got {} and {}", to_string(options.resolution), options.step);
  if (options.enabled) {
    check(1 <= options.min_side && options.min_side <= options.max_side && options.max_side >= std::max(width, height),
          ErrorKind::invalid_argument, "buckets", "expected 1 <= min <= max and max >= resolution, got min {}, max {}, resolution {}",
          options.min_side, options.max_side, to_string(options.resolution));
    check(options.resolution.area() >= options.step * options.step, ErrorKind::invalid_argument, "buckets",
          "expected a resolution of at least one step of {}, got {}", options.step, to_string(options.resolution));
  }
  sizes_ = make_sizes(options);
}

Placement Buckets::place(Size picture, const std::string& where) const {
  check(picture.width >= 1 && picture.height >= 1, ErrorKind::internal, where, "expected a picture, got {}", to_string(picture));
  if (options_.enabled && options_.no_upscale) return place_smaller(picture, where);
  const bool is_exact = std::binary_search(sizes_.begin(), sizes_.end(), picture);
  const auto distance = [&](Size size) { return std::abs(aspect(size) - aspect(picture)); };
  const Size bucket =
      is_exact ? picture : *std::min_element(sizes_.begin(), sizes_.end(), [&](Size a, Size b) { return distance(a) < distance(b); });
  return cover(bucket, picture);
}

Placement Buckets::place_smaller(Size picture, const std::string& where) const {
  const auto whole_steps = [this](double length) { return nearest(length) / options_.step * options_.step; };
  Size resized = picture;
  const double ratio = aspect(picture), area = static_cast<double>(options_.resolution.area());
  if (static_cast<double>(picture.area()) > area) {
    const double width = std::sqrt(area * ratio), height = area / width;
    // Two candidates: the width in whole steps with its height, the height in whole steps with its width.
    const int64_t by_width = whole_steps(width), by_height = whole_steps(height);
    const int64_t its_height = whole_steps(static_cast<double>(by_width) / ratio),
                  its_width = whole_steps(static_cast<double>(by_height) * ratio);
    const auto error = [&](int64_t w, int64_t h) { return h == 0 || w == 0 ? INFINITY : std::abs(aspect({w, h}) - ratio); };
    resized = error(by_width, its_height) < error(its_width, by_height) ? Size{by_width, nearest(static_cast<double>(by_width) / ratio)}
                                                                        : Size{nearest(static_cast<double>(by_height) * ratio), by_height};
  }
  const Size bucket = {resized.width / options_.step * options_.step, resized.height / options_.step * options_.step};
  if (bucket.area() == 0) {
    fail(ErrorKind::invalid_argument, where,
         fmt::format("expected a picture of at least {0}x{0} with --no-upscale, got {1}", options_.step, to_string(picture)),
         "allow upscaling, lower --bucket-step, or remove the picture");
  }
  return centred(bucket, resized);
}

}  // namespace lowrank::data
