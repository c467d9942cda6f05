// Which pictures a folder holds, and what belongs to each: caption, class, mask, repeats. Folders as the field has them:
//   captions   a.png with a.txt or a.caption beside it, at any depth; a folder named "5_dog" is shown 5 times an epoch
//   metadata   metadata.jsonl, an object a line with "file_name" and "text" (or "caption", "prompt")
//   classes    the first folder of a picture's path is its class
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lowrank/data/images/options.h"

namespace lowrank::data {

struct ImageSample {
  std::filesystem::path path;
  std::string name;            // path below its folder, with '/'
  std::string caption;         // as found, white space at its ends removed; may have several lines
  std::string label;           // classes only
  std::filesystem::path mask;  // empty: none, or the picture's own alpha
  int64_t repeats = 1;
  bool is_prior = false;  // from prior_images
};

/// What was found. Lists hold every name.
struct ImageFolder {
  std::string layout;                // captions, metadata or classes
  std::vector<ImageSample> samples;  // sorted by name, prior pictures last
  std::vector<std::string> missing_captions, empty_captions, orphans, missing_masks;
  std::vector<std::string> unused_captions;  // caption files that the layout does not read
  std::vector<std::string> unused_keys;      // of metadata.jsonl
  std::vector<std::string> other_files;      // neither picture nor caption
};

/// Reads options.images, and options.prior_images. Throws Error{invalid_argument} when a folder is missing or holds no
/// picture; Error{file_format} listing every problem that the options do not allow: a picture without caption or mask, a
/// caption or mask without picture, two captions for one picture, text that is not UTF-8, a picture outside any class.
ImageFolder scan_folder(const ImageDataOptions& options);

}  // namespace lowrank::data
