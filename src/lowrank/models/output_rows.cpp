#include "lowrank/models/output_rows.h"

#include <algorithm>
#include <numeric>

#include "lowrank/base/error.h"

namespace lowrank::models {

OutputRows::OutputRows(const nn::Sequences& batch, bool first_only) : batch_(batch), first_only_(first_only) {
  if (!first_only) return;
  offsets_.resize(batch.offsets.size());
  std::iota(offsets_.begin(), offsets_.end(), int64_t{0});
  keys_ = first_row_keys(batch);
}

nn::RowKeys first_row_keys(const nn::Sequences& batch) {
  nn::RowKeys keys;
  if (batch.keys.empty()) return keys;
  for (int64_t b = 0; b < batch.sequences(); ++b) keys.push_back(batch.keys[static_cast<size_t>(batch.offsets[b])]);
  return keys;
}

namespace {

void check_below(const at::Tensor& values, int64_t bound, std::string_view what) {
  const int64_t* first = values.const_data_ptr<int64_t>();
  const auto [low, high] = std::minmax_element(first, first + values.numel());
  if (low == first + values.numel()) return;
  check(*low >= 0 && *high < bound, ErrorKind::invalid_argument, "encode", "expected {}s from 0 to {}, got {}", what, bound - 1,
        *low < 0 ? *low : *high);
}

}  // namespace

void check_batch(const nn::Packed& batch, int64_t max_length, int64_t vocabulary, int64_t types) {
  for (int64_t b = 0; b < batch.sequences(); ++b) {
    const int64_t length = batch.offsets[b + 1] - batch.offsets[b];
    check(length <= max_length, ErrorKind::invalid_argument, "encode", "sequence {}: expected at most {} tokens, got {}", b, max_length,
          length);
  }
  if (!batch.ids.is_cpu()) return;
  check_below(batch.ids, vocabulary, "token id");
  if (types > 1) check_below(batch.type_ids, types, "type id");
}

}  // namespace lowrank::models
