#include "lowrank/data/images/bucket_batches.h"

#include <algorithm>
#include <map>

#include "lowrank/base/error.h"
#include "lowrank/base/random.h"

namespace lowrank::data {

BucketBatcher::BucketBatcher(std::span<const Size> buckets, std::span<const int64_t> repeats, ImageBatchOptions options)
    : options_(options) {
  check(options.batch_size >= 1, ErrorKind::invalid_argument, "batches", "expected a batch size of at least 1, got {}", options.batch_size);
  check(!buckets.empty(), ErrorKind::invalid_argument, "batches", "expected at least one picture, got none");
  check(buckets.size() == repeats.size(), ErrorKind::internal, "batches", "expected repeats for {} pictures, got {}", buckets.size(),
        repeats.size());
  std::map<Size, std::vector<Draw>> by_size;
  for (size_t i = 0; i < buckets.size(); ++i) {
    check(repeats[i] >= 1, ErrorKind::invalid_argument, "batches", "expected repeats of at least 1, got {} for picture {}", repeats[i], i);
    for (int64_t repeat = 0; repeat < repeats[i]; ++repeat) by_size[buckets[i]].push_back({static_cast<int64_t>(i), repeat});
  }
  for (auto& [size, draws] : by_size) buckets_.push_back({size, std::move(draws)});
}

int64_t BucketBatcher::batches_per_epoch() const {
  int64_t batches = 0;
  for (const auto& bucket : buckets_)
    batches += (static_cast<int64_t>(bucket.draws.size()) + options_.batch_size - 1) / options_.batch_size;
  return batches;
}

int64_t BucketBatcher::draws_per_epoch() const {
  int64_t draws = 0;
  for (const auto& bucket : buckets_) draws += static_cast<int64_t>(bucket.draws.size());
  return draws;
}

std::vector<ImageBatch> BucketBatcher::epoch(int64_t epoch) const {
  std::vector<ImageBatch> batches;
  const auto step = static_cast<uint64_t>(epoch);
  for (size_t number = 0; number < buckets_.size(); ++number) {
    std::vector<Draw> draws = buckets_[number].draws;
    if (options_.shuffle) {
      const auto order = RandomStream(options_.seed, "picture order", step, number).permutation(static_cast<int64_t>(draws.size()));
      for (size_t i = 0; i < draws.size(); ++i) draws[i] = buckets_[number].draws[static_cast<size_t>(order[i])];
    }
    const auto size = static_cast<size_t>(options_.batch_size);
    for (size_t begin = 0; begin < draws.size(); begin += size) {
      const size_t end = std::min(begin + size, draws.size());
      batches.push_back({buckets_[number].size, {draws.begin() + static_cast<int64_t>(begin), draws.begin() + static_cast<int64_t>(end)}});
    }
  }
  if (!options_.shuffle) return batches;
  std::vector<ImageBatch> mixed;
  for (const int64_t at : RandomStream(options_.seed, "bucket order", step).permutation(static_cast<int64_t>(batches.size()))) {
    mixed.push_back(std::move(batches[static_cast<size_t>(at)]));
  }
  return mixed;
}

ImageBatch BucketBatcher::batch(int64_t epoch, int64_t index) const {
  check(index >= 0 && index < batches_per_epoch(), ErrorKind::invalid_argument, "batches", "expected batch 0 to {}, got {}",
        batches_per_epoch() - 1, index);
  if (cached_epoch_ != epoch) {
    cached_ = this->epoch(epoch);
    cached_epoch_ = epoch;
  }
  return cached_[static_cast<size_t>(index)];
}

}  // namespace lowrank::data
