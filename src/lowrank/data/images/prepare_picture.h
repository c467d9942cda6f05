// A picture made ready for a model: scaled and cut to its bucket, mirrored or not, its mask along with it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/data/images/buckets.h"
#include "lowrank/data/images/folder.h"
#include "lowrank/data/images/picture.h"

namespace lowrank::data {

/// All that decides the pixels besides the picture's own bytes.
struct Recipe {
  Placement placement;
  Color background = {255, 255, 255};
  bool is_mirrored = false;
  bool alpha_mask = false;  // the mask is the picture's alpha
};

struct PreparedPicture {
  Picture picture;            // of placement.bucket's size
  std::vector<uint8_t> mask;  // [height, width], 255 counts fully, 0 not at all; empty: all counts
};

/// Decodes `sample` and its mask and applies the recipe: resample to placement.resized with choose_filter, cut, mirror.
/// A mask is read as its red channel and has the picture's size; one of another size is Error{file_format} naming both.
/// Throws what read_picture throws. A picture whose file changed size since its placement was made is Error{file_format}.
PreparedPicture prepare_picture(const ImageSample& sample, Size picture_size, const Recipe& recipe, const ReadOptions& options);

/// Whether a draw is shown mirrored: a fair coin of (seed, epoch, draw).
bool is_mirrored(uint64_t seed, int64_t epoch, uint64_t draw);

/// What a cache of this picture's pixels (or latents, with the encoder's hash added) is filed under: SHA-256 over the hash
/// of the file's bytes, that of its mask's ("" for none), and the recipe. Names and dates play no part.
std::string picture_key(std::string_view content_hash, std::string_view mask_hash, const Recipe& recipe);

}  // namespace lowrank::data
