// What a user says about pictures. Declared once; the layers above add their own options beside these.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lowrank/base/options.h"
#include "lowrank/data/images/buckets.h"
#include "lowrank/data/images/captions.h"
#include "lowrank/data/images/picture.h"

namespace lowrank::data {

struct ImageDataOptions {
  std::string images, prior_images;  // folders
  std::string layout = "auto";       // auto, captions, metadata, classes
  std::vector<std::string> caption_extensions = {".txt", ".caption"};
  std::string missing_captions = "error";  // error, empty, folder
  std::string orphans = "error";           // captions, masks and metadata rows without a picture: error, report
  std::string broken_pictures = "error";   // error, skip
  std::string long_prompts = "report";     // error, report
  std::string masks;                       // "": none; "alpha"; a folder
  std::string missing_masks = "error";     // error, full
  std::string resolution = "512";          // a side, or "768x512"
  bool bucket = true, no_upscale = false;
  int64_t bucket_min = 256, bucket_max = 1024, bucket_step = 64;
  std::string background = "white";
  double max_megapixels = 100;
  bool flip = false;
  CaptionOptions caption;
  int64_t threads = 0;  // for reading; 0: one a processor. Not declared: the program has one --threads.
};

/// Adds the groups "Pictures" and "Captions" to `table`, bound to `options`.
void declare(OptionTable& table, ImageDataOptions& options);

/// "512" or "768x512", width first. Error{invalid_argument} naming `what` for other text.
Size parse_size(std::string_view text, std::string_view what);
/// Throw Error{invalid_argument} for a resolution or colour that cannot be read.
BucketOptions bucket_options(const ImageDataOptions& options);
ReadOptions read_options(const ImageDataOptions& options);

}  // namespace lowrank::data
