// What is in a set of pictures, said before training: captions, sizes, what is cut and enlarged, duplicates, what is broken.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lowrank/base/json.h"
#include "lowrank/data/images/folder.h"
#include "lowrank/data/images/picture.h"

namespace lowrank::data {

struct FolderCount {
  std::string name;  // "." for the folder itself
  int64_t pictures = 0, repeats = 1;
};

struct BucketCount {
  Size size;
  int64_t pictures = 0, draws = 0;  // draws: pictures × repeats
};

/// A picture and a figure of it.
struct NamedFigure {
  std::string name;
  double figure = 0;
};

struct ClassCount {
  std::string label;
  int64_t pictures = 0;
};

/// Lists are complete in JSON; the text shows their first entries and their number.
struct ImageReport {
  std::string folder, layout;
  int64_t pictures = 0, prior_pictures = 0, draws = 0, masks = 0;
  std::vector<FolderCount> folders;  // that hold pictures, with their repeats
  std::vector<ClassCount> classes;
  std::vector<BucketCount> buckets;

  std::vector<std::string> missing_captions, empty_captions, several_lines, orphans, missing_masks;
  std::vector<std::string> unused_captions, unused_keys, other_files;
  int64_t token_limit = 0;                // 0: nobody counted
  std::vector<NamedFigure> long_prompts;  // tokens, longest first
  std::vector<std::string> captions;      // the first three as they are shown

  double mean_cropped = 0;                           // share of a picture's area, over pictures
  std::vector<NamedFigure> cropped;                  // over a tenth cut away: share, largest first
  std::vector<NamedFigure> upscaled;                 // enlarged: factor, largest first
  std::vector<std::vector<std::string>> duplicates;  // names of pictures with equal bytes
  std::vector<std::string> broken;                   // "name: why", left out of the set
  std::vector<std::string> notes;                    // "name: what was assumed"
  std::string hash;                                  // SHA-256 over name, bytes, mask, caption, label and repeats of every picture

  Json to_json() const;
  /// For the terminal: UTF-8, no colour.
  std::string to_text() const;
};

}  // namespace lowrank::data
