// The rows of a batch of sequences whose outputs a layer computes: all of them, or each sequence's first. Keys and values are
// always computed for all rows.
#pragma once

#include <vector>

#include "lowrank/nn/packed.h"

namespace lowrank::models {

class OutputRows {
 public:
  OutputRows(const nn::Sequences& batch, bool first_only);

  /// x [N, D] → x itself, or its first rows [B, D].
  at::Tensor select(const at::Tensor& x) const { return first_only_ ? x.index_select(0, batch_.first_rows(x.device())) : x; }
  /// Of the selected rows: offsets [B + 1] and dropout keys (null when there is no dropout).
  const std::vector<int64_t>& offsets() const { return first_only_ ? offsets_ : batch_.offsets; }
  const nn::RowKeys* keys() const { return first_only_ && !keys_.empty() ? &keys_ : all_keys(); }
  /// Of all rows.
  const std::vector<int64_t>& all_offsets() const { return batch_.offsets; }
  const nn::RowKeys* all_keys() const { return batch_.dropout_keys(); }

 private:
  const nn::Sequences& batch_;
  bool first_only_;
  std::vector<int64_t> offsets_;
  nn::RowKeys keys_;
};

/// The dropout keys of each sequence's first row, [B]; empty when the batch has none.
nn::RowKeys first_row_keys(const nn::Sequences& batch);

/// Throws Error{invalid_argument} for a sequence longer than `max_length`, and on the CPU for an id at or over
/// `vocabulary` or a type id at or over `types` (elsewhere that would wait for the device; the lookup itself fails
/// there). With one type or none, type ids are ignored and not checked: tokenizers may number a pair's texts all the
/// same.
void check_batch(const nn::Packed& batch, int64_t max_length, int64_t vocabulary, int64_t types);

}  // namespace lowrank::models
