#include "lowrank/data/images/picture_rows.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "lowrank/base/error.h"

namespace lowrank::data {

PictureRows::PictureRows(std::shared_ptr<const ImageSet> set, ImageDataOptions options, std::vector<int64_t> entries, int64_t keep_bytes)
    : set_(std::move(set)), options_(std::move(options)), entries_(std::move(entries)), size_(bucket_options(options_).resolution) {
  const auto rows = static_cast<int64_t>(entries_.size());
  if (rows == 0 || rows * bytes_each() > keep_bytes) return;
  std::vector<uint8_t> pixels(static_cast<size_t>(rows * bytes_each()));
  std::atomic<int64_t> next = 0;
  const auto work = [&] {
    for (int64_t row = next++; row < rows; row = next++) {
      decode(row, std::span(pixels).subspan(static_cast<size_t>(row * bytes_each()), static_cast<size_t>(bytes_each())));
    }
  };
  const int64_t wanted = options_.threads > 0 ? options_.threads : std::max<int64_t>(1, std::thread::hardware_concurrency());
  std::vector<std::future<void>> helpers;  // their destructors wait, and get() hands on what they threw
  for (int64_t i = 1; i < std::min(wanted, rows); ++i) helpers.push_back(std::async(std::launch::async, work));
  work();
  for (auto& helper : helpers) helper.get();
  kept_ = std::move(pixels);
}

void PictureRows::read(int64_t row, std::span<uint8_t> out) const {
  if (!is_kept()) return decode(row, out);
  std::copy_n(kept_.begin() + row * bytes_each(), bytes_each(), out.begin());
}

const std::string& PictureRows::name(int64_t row) const { return entry(row).sample.name; }

std::string PictureRows::key(int64_t row) const {
  return picture_key(entry(row).content_hash, entry(row).mask_hash, set_->recipe(entries_[static_cast<size_t>(row)], options_, false));
}

void PictureRows::decode(int64_t row, std::span<uint8_t> out) const {
  const Picture picture = set_->prepare(entries_[static_cast<size_t>(row)], options_, /*mirrored=*/false).picture;
  check(picture.size == size_ && picture.rgb.size() == out.size(), ErrorKind::internal, name(row), "expected a picture of {}, got {}",
        to_string(size_), to_string(picture.size));
  std::copy(picture.rgb.begin(), picture.rgb.end(), out.begin());
}

}  // namespace lowrank::data
