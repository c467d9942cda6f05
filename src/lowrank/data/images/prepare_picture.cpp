#include "lowrank/data/images/prepare_picture.h"

#include <algorithm>

#include "lowrank/base/error.h"
#include "lowrank/base/hash.h"
#include "lowrank/base/random.h"
#include "lowrank/data/images/resample.h"

namespace lowrank::data {

namespace {

std::vector<uint8_t> apply(const std::vector<uint8_t>& samples, Size size, int64_t channels, const Recipe& recipe) {
  const auto& [bucket, resized, left, top] = recipe.placement;
  const auto scaled = resample(samples, size, resized, channels, choose_filter(size, resized));
  std::vector<uint8_t> out;
  out.reserve(static_cast<size_t>(bucket.area() * channels));
  for (int64_t y = top; y < top + bucket.height; ++y) {
    for (int64_t x = 0; x < bucket.width; ++x) {
      const int64_t column = left + (recipe.is_mirrored ? bucket.width - 1 - x : x);
      const auto pixel = scaled.begin() + (y * resized.width + column) * channels;
      out.insert(out.end(), pixel, pixel + channels);
    }
  }
  return out;
}

/// The red channel of the mask file.
std::vector<uint8_t> read_mask(const ImageSample& sample, Size size, ReadOptions options) {
  options.background = {0, 0, 0};
  options.keep_alpha = false;
  const Picture mask = read_picture(sample.mask, options);
  check(mask.size == size, ErrorKind::file_format, sample.mask.string(), "expected a mask of {}, the size of {}, got {}", to_string(size),
        sample.name, to_string(mask.size));
  std::vector<uint8_t> red;
  for (size_t i = 0; i < mask.rgb.size(); i += 3) red.push_back(mask.rgb[i]);
  return red;
}

}  // namespace

PreparedPicture prepare_picture(const ImageSample& sample, Size picture_size, const Recipe& recipe, const ReadOptions& options) {
  ReadOptions reading = options;
  reading.background = recipe.background;
  reading.keep_alpha = recipe.alpha_mask && !sample.is_prior;
  const Picture picture = read_picture(sample.path, reading);
  check(picture.size == picture_size, ErrorKind::file_format, sample.path.string(), "expected {} as when it was first read, got {}",
        to_string(picture_size), to_string(picture.size));
  PreparedPicture prepared;
  prepared.picture.size = recipe.placement.bucket;
  prepared.picture.rgb = apply(picture.rgb, picture.size, 3, recipe);
  prepared.picture.notes = picture.notes;
  const auto mask = sample.mask.empty() ? picture.alpha : read_mask(sample, picture.size, options);
  if (!mask.empty()) prepared.mask = apply(mask, picture.size, 1, recipe);
  return prepared;
}

bool is_mirrored(uint64_t seed, int64_t epoch, uint64_t draw) {
  return RandomStream(seed, "mirror", static_cast<uint64_t>(epoch), draw).below(2) == 1;
}

std::string picture_key(std::string_view content_hash, std::string_view mask_hash, const Recipe& recipe) {
  const auto& [bucket, resized, left, top] = recipe.placement;
  return sha256_hex(fmt::format("picture 1\n{}\n{}\n{} {} {} {}\n{} {} {}\n{} {}\n", content_hash, mask_hash, to_string(bucket),
                                to_string(resized), left, top, recipe.background[0], recipe.background[1], recipe.background[2],
                                recipe.is_mirrored, recipe.alpha_mask));
}

}  // namespace lowrank::data
