// Batches of pictures of one size. The order of an epoch is a pure function of (seed, epoch); no picture is left out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lowrank/data/images/picture.h"

namespace lowrank::data {

/// One showing of a picture: a picture with 3 repeats is drawn three times an epoch, with chances of its own each time.
struct Draw {
  int64_t picture = 0;  // its place in the set
  int64_t repeat = 0;   // 0 … repeats-1

  bool operator==(const Draw&) const = default;
  /// What random streams of this draw take as `item`.
  uint64_t item() const { return static_cast<uint64_t>(repeat) << 40 | static_cast<uint64_t>(picture); }
};

struct ImageBatch {
  Size bucket;
  std::vector<Draw> draws;
};

struct ImageBatchOptions {
  int64_t batch_size = 1;  // B
  uint64_t seed = 42;
  bool shuffle = true;
};

class BucketBatcher {
 public:
  /// buckets[i] is the bucket of picture i, repeats[i] how often it is shown an epoch. Throws Error{invalid_argument} for an
  /// empty set, a batch size or repeats below 1.
  BucketBatcher(std::span<const Size> buckets, std::span<const int64_t> repeats, ImageBatchOptions options);

  int64_t batches_per_epoch() const;  // Σ over buckets of ceil(draws / B)
  int64_t draws_per_epoch() const;    // Σ repeats
  /// Batch `index` of `epoch`: draws of one bucket, B of them but for the bucket's last batch.
  ImageBatch batch(int64_t epoch, int64_t index) const;
  /// All batches of `epoch`: each bucket's draws shuffled and cut, then the batches of all buckets shuffled.
  std::vector<ImageBatch> epoch(int64_t epoch) const;

 private:
  struct Bucket {
    Size size;
    std::vector<Draw> draws;
  };
  std::vector<Bucket> buckets_;  // by size
  ImageBatchOptions options_;
  mutable int64_t cached_epoch_ = -1;  // one owner, one thread
  mutable std::vector<ImageBatch> cached_;
};

}  // namespace lowrank::data
