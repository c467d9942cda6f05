// A folder of pictures, looked at once from end to end: every file decoded, hashed and given its bucket, and the report made.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lowrank/base/progress.h"
#include "lowrank/data/images/bucket_batches.h"
#include "lowrank/data/images/folder.h"
#include "lowrank/data/images/image_report.h"
#include "lowrank/data/images/options.h"
#include "lowrank/data/images/prepare_picture.h"

namespace lowrank::data {

struct ImageEntry {
  ImageSample sample;
  Size size;  // of the file, upright
  Placement placement;
  std::string content_hash, mask_hash;  // SHA-256 of the files' bytes; mask_hash "" without a mask file
  int64_t label = -1;                   // place in ImageSet::labels; -1 without classes
};

struct ImageSet {
  std::vector<ImageEntry> entries;  // by name, prior pictures last; a Draw's `picture` is a place here
  std::vector<std::string> labels;  // sorted; empty without classes
  ImageReport report;

  int64_t size() const { return static_cast<int64_t>(entries.size()); }
  BucketBatcher batcher(const ImageBatchOptions& options) const;
  /// The pixels of one entry. `mirrored` where --flip's coin says so.
  PreparedPicture prepare(int64_t entry, const ImageDataOptions& options, bool mirrored) const;
  Recipe recipe(int64_t entry, const ImageDataOptions& options, bool mirrored) const;
};

/// Tokens of a caption as the text encoder takes it, and how many it can take; special tokens included in both.
struct TokenCounter {
  std::function<int64_t(const std::string&)> count;
  int64_t limit = 77;
};

/// Scans, decodes every picture and mask (options.threads at a time), places it, and fills the report. `counter.count` may be
/// empty. Throws what scan_folder throws; Error{file_format} naming every broken picture unless --broken-pictures is "skip",
/// and every prompt over the limit where --long-prompts is "error"; Error{invalid_argument} when no picture is left.
ImageSet read_image_set(const ImageDataOptions& options, const TokenCounter& counter = {}, const ProgressSink& progress = {});

/// The same for pictures named one by one; options.images is their name in errors.
ImageSet read_samples(std::vector<ImageSample> samples, const ImageDataOptions& options, const ProgressSink& progress = {});

}  // namespace lowrank::data
