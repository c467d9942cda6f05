// How rows are multiplied by the few columns of rank space: with vector instructions in the rows' own dtype, or on a matrix unit
// from bfloat16 rows into float32 sums. One object a thread.
#pragma once

#include <algorithm>

#include "lowrank/kernels/buffer.h"
#include "lowrank/kernels/narrow_product.h"
#include "lowrank/kernels/rank_projection.h"
#include "lowrank/kernels/rounding.h"
#include "lowrank/kernels/tile_product.h"

namespace lowrank::kernels {

template <class T>
class VectorArithmetic {
 public:
  using Number = T;
  using Sum = T;
  static constexpr int64_t kBlockNumbers = 1 << 16;  // of a block of rows: half of a small second-level cache
  static constexpr int64_t kRowMultiple = 6, kMostRows = 96, kLeastRun = 96;

  static int64_t columns(int64_t rank) { return padded_columns<T>(rank); }
  /// Q [depth, rank] as project() wants it.
  static at::Tensor right(const at::Tensor& q, int64_t columns) { return with_columns(q, columns); }
  /// The first `rank` columns of sums [width, columns].
  static at::Tensor matrix(const at::Tensor& sums, int64_t width, int64_t columns, int64_t rank) {
    return sums.view({width, columns}).slice(1, 0, rank);
  }

  explicit VectorArithmetic(int64_t columns) : columns_(columns) {}

  /// h [rows, columns] = x·Q, x [rows, depth].
  void project(int64_t rows, int64_t depth, const T* x, const T* q, T* h) {
    narrow_product(rows, columns_, depth, {x, depth, 1}, {q, columns_}, {h, columns_}, {});
  }

  /// sums += xᵀ·g, x [rows, width], g [rows, columns].
  void add_outer(int64_t rows, int64_t width, const T* x, const T* g, T* sums) {
    narrow_product(width, columns_, rows, {x, 1, width}, {g, columns_}, {sums, columns_}, {sums, columns_});
  }

 private:
  int64_t columns_;
};

/// Widths must be even. The sums lie by rank, [columns, width]: the wide matrix is then the packed one.
class TileArithmetic {
 public:
  using Number = at::BFloat16;
  using Sum = float;
  static constexpr int64_t kBlockNumbers = 1 << 17, kRowMultiple = 32, kMostRows = 64, kLeastRun = 128;

  static int64_t columns(int64_t rank) { return (rank + 15) / 16 * 16; }
  static at::Tensor right(const at::Tensor& q, int64_t columns) { return packed_tiles(with_columns(q, columns)); }
  static at::Tensor matrix(const at::Tensor& sums, int64_t width, int64_t columns, int64_t rank) {
    return sums.view({columns, width}).slice(0, 0, rank).t();
  }

  explicit TileArithmetic(int64_t columns) : columns_(columns) {}

  void project(int64_t rows, int64_t depth, const at::BFloat16* x, const at::BFloat16* q, float* h) {
    tile_product(rows, columns_, depth, x, depth, q, h, columns_, /*add=*/false);
  }

  void add_outer(int64_t rows, int64_t width, const at::BFloat16* x, const float* g, float* sums) {
    const int64_t depth = (rows + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
    at::BFloat16* turned = turned_.at_least(columns_ * depth);
    turn_rounded(rows, columns_, g, turned, depth);
    if (depth > rows) {  // rows of zeros, so that few depths occur
      at::BFloat16* padded = padded_.at_least(depth * width);
      std::fill_n(std::copy_n(x, rows * width, padded), (depth - rows) * width, at::BFloat16(0.0F));
      for (int64_t r = 0; r < columns_; ++r) std::fill_n(turned + r * depth + rows, depth - rows, at::BFloat16(0.0F));
      x = padded;
    }
    at::BFloat16* packed = packed_.at_least(packed_size(depth, width));
    pack_tiles(depth, width, x, width, packed);
    tile_product(columns_, width, depth, turned, depth, packed, sums, width, /*add=*/true);
  }

 private:
  int64_t columns_;
  Buffer<at::BFloat16> turned_, padded_, packed_;
  TileScope scope_;
};

}  // namespace lowrank::kernels
