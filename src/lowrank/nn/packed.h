// A batch without padding: the sequences' tokens one after another, attention within each sequence alone.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <vector>

namespace lowrank::nn {

/// One key a row of a packed tensor, from (seed, step, sample, position). Dropout masks are functions of these keys and
/// the layer, so they do not depend on how samples were batched.
using RowKeys = std::vector<uint64_t>;

/// How N rows make B sequences.
struct Sequences {
  std::vector<int64_t> offsets;  // [B + 1], sequence b is rows offsets[b] … offsets[b+1]-1
  RowKeys keys;                  // [N] while training with dropout, else empty

  int64_t tokens() const { return offsets.back(); }
  int64_t sequences() const { return static_cast<int64_t>(offsets.size()) - 1; }
  /// Row of each sequence's first token, [B] int64.
  at::Tensor first_rows(at::Device device) const;
  const RowKeys* dropout_keys() const { return keys.empty() ? nullptr : &keys; }
};

/// Texts.
struct Packed : Sequences {
  at::Tensor ids;        // [N] int64
  at::Tensor positions;  // [N] int64, 0-based within each sequence
  at::Tensor type_ids;   // [N] int64, segment of a text pair
};

/// Packs sequences of token ids (type ids optional: empty means all 0). Throws Error{invalid_argument} for an empty
/// sequence or a length mismatch.
Packed pack(const std::vector<std::vector<int64_t>>& ids, const std::vector<std::vector<int64_t>>& type_ids = {});

}  // namespace lowrank::nn
