// How rows are multiplied by the few columns of rank space: with vector instructions in the rows' own dtype, or on a matrix unit
// from bfloat16 rows into float32 sums. One object a thread.
#pragma once

#include <ATen/ops/empty.h>
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
  /// Aᵀ [n, rank] and diag(factors)·B [k, rank] as project() wants them.
  static at::Tensor of_a(const at::Tensor& A, int64_t columns) { return with_columns(A.t(), columns); }
  static at::Tensor of_b(const at::Tensor& B, const at::Tensor& factors, int64_t columns) {
    return with_columns(B * factors.unsqueeze(1), columns);
  }
  /// From sums [width, columns] the gradients dA [rank, width] and dB [width, rank].
  static at::Tensor gradient_of_a(const at::Tensor& sums, int64_t width, int64_t columns, int64_t rank) {
    return sums.view({width, columns}).slice(1, 0, rank).t();
  }
  static at::Tensor gradient_of_b(const at::Tensor& sums, const at::Tensor& factors, int64_t columns, int64_t rank) {
    return sums.view({-1, columns}).slice(1, 0, rank) * factors.unsqueeze(1);
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
  static constexpr int64_t kBlockNumbers = 1 << 19, kRowMultiple = 32, kMostRows = 192, kLeastRun = 128;

  static int64_t columns(int64_t rank) { return (rank + 15) / 16 * 16; }
  static at::Tensor of_a(const at::Tensor& A, int64_t /*columns*/) {
    const at::Tensor a = A.to(at::kFloat).contiguous();
    const int64_t rank = a.size(0), n = a.size(1);
    Buffer<at::BFloat16> rounded(rank * n);
    round_rows(rank, n, a.const_data_ptr<float>(), n, 1, nullptr, rounded.get(), n);
    at::Tensor packed = at::empty({packed_size(n, rank)}, a.options().dtype(at::kBFloat16));
    pack_turned_tiles(n, rank, rounded.get(), n, packed.mutable_data_ptr<at::BFloat16>());
    return packed;
  }
  static at::Tensor of_b(const at::Tensor& B, const at::Tensor& factors, int64_t /*columns*/) {
    const at::Tensor b = B.to(at::kFloat).contiguous();
    const int64_t k = b.size(0), rank = b.size(1);
    Buffer<at::BFloat16> rounded(k * rank);
    round_rows(k, rank, b.const_data_ptr<float>(), rank, 1, factors.const_data_ptr<float>(), rounded.get(), rank);
    at::Tensor packed = at::empty({packed_size(k, rank)}, b.options().dtype(at::kBFloat16));
    pack_tiles(k, rank, rounded.get(), rank, packed.mutable_data_ptr<at::BFloat16>());
    return packed;
  }
  /// From sums [columns, width] the gradients dA [rank, width] and dB [width, rank].
  static at::Tensor gradient_of_a(const at::Tensor& sums, int64_t width, int64_t columns, int64_t rank) {
    return sums.view({columns, width}).slice(0, 0, rank);
  }
  static at::Tensor gradient_of_b(const at::Tensor& sums, const at::Tensor& factors, int64_t /*columns*/, int64_t rank) {
    const int64_t width = factors.size(0);
    at::Tensor result = at::empty({width, rank}, sums.options());
    turn_scaled(rank, width, sums.const_data_ptr<float>(), factors.const_data_ptr<float>(), result.mutable_data_ptr<float>());
    return result;
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
