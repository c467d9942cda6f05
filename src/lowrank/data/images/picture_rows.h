// The pixels of a data set's pictures, each of the size that the model takes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lowrank/data/images/image_set.h"

namespace lowrank::data {

class PictureRows {
 public:
  /// Row i is `entries[i]` of the set. All are decoded here (options.threads at a time) and kept when they take at most `keep_bytes`
  /// together; else each is decoded whenever it is read. Throws what ImageSet::prepare throws.
  PictureRows(std::shared_ptr<const ImageSet> set, ImageDataOptions options, std::vector<int64_t> entries, int64_t keep_bytes);

  Size size() const { return size_; }
  int64_t bytes_each() const { return 3 * size_.area(); }
  bool is_kept() const { return !kept_.empty(); }
  /// Writes row `row`, [height, width, 3], 8-bit sRGB, to `out` of bytes_each().
  void read(int64_t row, std::span<uint8_t> out) const;
  const std::string& name(int64_t row) const;
  /// What the pixels depend on: the file's bytes and what is made of them.
  std::string key(int64_t row) const;

 private:
  const ImageEntry& entry(int64_t row) const { return set_->entries[static_cast<size_t>(entries_[static_cast<size_t>(row)])]; }
  void decode(int64_t row, std::span<uint8_t> out) const;

  std::shared_ptr<const ImageSet> set_;
  ImageDataOptions options_;
  std::vector<int64_t> entries_;
  Size size_;
  std::vector<uint8_t> kept_;
};

}  // namespace lowrank::data
