// Batches without padding: the sequences of a batch lie behind one another, `offsets` says where each begins.
// The order of an epoch is a pure function of (seed, epoch), so the only state of a run is (epoch, batch).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lowrank/data/dataset.h"

namespace lowrank::data {

/// B pictures, or B examples as S sequences of N tokens together. S = B, except for embedding pairs: there S = 2B, text and pair in
/// turn.
struct Batch {
  std::vector<int32_t> ids, positions, type_ids;  // [N]; positions count from 0 in each sequence
  std::vector<int32_t> offsets = {0};             // [S+1]: sequence s is [offsets[s], offsets[s+1])
  int32_t longest = 0;                            // of its sequences
  std::vector<int64_t> labels;                    // [B] class numbers (single_label), else empty
  std::vector<float> targets;                     // [B*C] 0 or 1 (multi_label), [B] values (regression, embedding), else empty
  std::vector<int64_t> samples;                   // [B] Example::id
  std::vector<int64_t> mixed_labels;              // [B] of the pictures that show through (augment.h), else empty
  std::vector<float> mixed_shares;                // [B] how much they count; 0 for a picture that is itself alone
  std::vector<uint8_t> pixels;                    // [B, height, width, 3] of pictures, which have no sequences; else empty
  int64_t height = 0, width = 0;

  int64_t size() const { return static_cast<int64_t>(samples.size()); }           // B
  int64_t sequences() const { return static_cast<int64_t>(offsets.size()) - 1; }  // S
  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }             // N
};

/// The examples at `indices` (places in dataset.examples), in that order. Throws Error{invalid_argument} when N exceeds
/// 2^31 - 1.
Batch collate(const Dataset& dataset, std::span<const int64_t> indices);

struct BatchOptions {
  int64_t batch_size = 32;  // B
  uint64_t seed = 42;
  bool shuffle = true;
  bool bucket_by_length = false;  // batches of similar lengths: for peers that pad, ours need it not
};

/// Training batches. The data set must outlive it.
class Batcher {
 public:
  /// Throws Error{invalid_argument} for an empty data set or a batch size below 1.
  Batcher(const Dataset& dataset, BatchOptions options);

  int64_t batches_per_epoch() const;  // ceil(rows / B): the last one may be smaller
  /// All places of the data set in the order of `epoch`; without buckets it does not depend on the batch size.
  std::vector<int64_t> order(int64_t epoch) const;
  /// Batch `index` of `epoch`.
  Batch batch(int64_t epoch, int64_t index) const;

 private:
  std::vector<int64_t> bucketed(std::vector<int64_t> order, int64_t epoch) const;

  const Dataset& dataset_;
  BatchOptions options_;
  mutable int64_t cached_epoch_ = -1;  // one owner, one thread
  mutable std::vector<int64_t> cached_order_;
};

/// Places of all examples, longest first, cut into batches of at most `token_budget` tokens (a longer example stands
/// alone). Longest first: when memory does not suffice, it shows at once.
std::vector<std::vector<int64_t>> evaluation_batches(const Dataset& dataset, int64_t token_budget);

}  // namespace lowrank::data
