// What the kernels of packed attention have in common: their pieces of work and what these read and write.
#pragma once

#include <cstdint>

namespace lowrank::kernels {

/// One sequence and head: where its rows begin, and how long it is; and at which query its row statistics begin.
struct AttentionTile {
  int64_t query_row, queries, key_row, keys, head, statistics;

  /// The `count` queries from `first` on, against all keys.
  AttentionTile part(int64_t first, int64_t count) const { return {query_row + first, count, key_row, keys, head, statistics + first}; }
};

/// Packed rows of `width` numbers, of which each head has `depth`.
template <class T>
struct AttentionInput {
  const T *q, *k, *v;
  int64_t width, depth;
  double scale;

  /// The tile's first query or key in a tensor of packed rows.
  template <class Pointer>
  Pointer* queries(const AttentionTile& tile, Pointer* tensor) const {
    return tensor + tile.query_row * width + tile.head * depth;
  }
  template <class Pointer>
  Pointer* keys(const AttentionTile& tile, Pointer* tensor) const {
    return tensor + tile.key_row * width + tile.head * depth;
  }
};

template <class T>
struct AttentionGradients {
  const T *out, *dout;
  T *dq, *dk, *dv;
};

}  // namespace lowrank::kernels
