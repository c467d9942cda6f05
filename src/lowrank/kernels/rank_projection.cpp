#include "lowrank/kernels/rank_projection.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <algorithm>

#include "lowrank/kernels/bfloat16.h"
#include "lowrank/kernels/buffer.h"
#include "lowrank/kernels/narrow_product.h"
#include "lowrank/kernels/tile_product.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kBlockRows = 48, kTileRows = 64;

template <class T>
at::Tensor project(const at::Tensor& x, const at::Tensor& A) {
  const int64_t rows = x.size(0), depth = x.size(1), rank = A.size(0), columns = padded_columns<T>(rank);
  const at::Tensor right = with_columns(A.t(), columns), left = x.contiguous(), h = at::empty({rows, columns}, x.options());
  const T *p = left.const_data_ptr<T>(), *q = right.const_data_ptr<T>();
  T* to = h.mutable_data_ptr<T>();
  tensor::parallel_for(0, rows, kBlockRows, [&](int64_t begin, int64_t end) {
    narrow_product(end - begin, columns, depth, Strided<T>{p + begin * depth, depth, 1}, Rows<const T>{q, columns},
                   Rows<T>{to + begin * columns, columns}, Rows<const T>{});
  });
  return columns == rank ? h : h.slice(1, 0, rank).contiguous();
}

}  // namespace

at::Tensor with_columns(const at::Tensor& matrix, int64_t columns) {
  if (matrix.size(1) == columns && matrix.is_contiguous()) return matrix;
  const at::Tensor wider = at::zeros({matrix.size(0), columns}, matrix.options());
  wider.slice(1, 0, matrix.size(1)).copy_(matrix);
  return wider;
}

at::Tensor rank_projection(const at::Tensor& x, const at::Tensor& A) {
  const auto dtype = x.scalar_type();
  if (!x.is_cpu() || (dtype != at::kFloat && dtype != at::kDouble)) return at::mm(x, A.t());
  return AT_DISPATCH_FLOATING_TYPES(dtype, "rank_projection", [&] { return project<scalar_t>(x, A); });
}

namespace {

/// A as three bfloat16 matrices whose sum it is, [3·R, taps·n] transposed and packed.
class SplitFactor {
 public:
  SplitFactor(const at::Tensor& A, int64_t taps)
      : rank_(A.size(0)),
        depth_(A.size(1)),
        taps_(taps),
        columns_((3 * rank_ + kSide - 1) / kSide * kSide),
        packed_(packed_size(depth_, columns_)) {
    const at::Tensor wide = A.contiguous();
    tensor::parallel_for(0, depth_, kPiece, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; k += kPiece) pack(wide.const_data_ptr<float>(), k, std::min(kPiece, end - k));
    });
  }

  int64_t columns() const { return columns_; }
  const at::BFloat16* packed() const { return packed_.get(); }
  /// Of sums [rows, columns] the parts' [rows, rank].
  void join(int64_t rows, const float* sums, float* to) const {
    for (int64_t i = 0; i < rows; ++i, sums += columns_) {
      for (int64_t r = 0; r < rank_; ++r) *to++ = sums[r] + sums[rank_ + r] + sums[2 * rank_ + r];
    }
  }

 private:
  static constexpr int64_t kSide = 16, kPiece = 512;

  void pack(const float* a, int64_t first, int64_t count) {
    Buffer<at::BFloat16> rows(columns_ * count);
    for (int64_t r = 0; r < rank_; ++r) split(a + r * depth_, first, count, rows.get() + r * count);
    std::fill(rows.get() + 3 * rank_ * count, rows.get() + columns_ * count, at::BFloat16(0.0F));
    for (int64_t j = 0; j < columns_; j += kTilePanel) {
      const int64_t width = std::min(kTilePanel, columns_ - j);
      pack_turned_tiles(count, width, rows.get() + j * count, count, packed_.get() + j * depth_ + first * width);
    }
  }

  /// Numbers first … first + count of one row, in the order of W's columns.
  void split(const float* row, int64_t first, int64_t count, at::BFloat16* to) const {
    const int64_t n = depth_ / taps_;
    for (int64_t i = 0; i < count;) {
      const int64_t tap = (first + i) / n, channel = (first + i) % n, run = std::min(n - channel, count - i);
      split_run(run, row + channel * taps_ + tap, taps_, to + i, rank_ * count);
      i += run;
    }
  }

  static void split_run(int64_t count, const float* from, int64_t step, at::BFloat16* to, int64_t part);

  int64_t rank_, depth_, taps_, columns_;
  Buffer<at::BFloat16> packed_;
};

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void split_numbers(int64_t count, const float* from, int64_t step, at::BFloat16* to, int64_t part) {
  for (int64_t i = 0; i < count; ++i) {
    float rest = from[i * step];
    for (int p = 0; p < 3; ++p) {
      const at::BFloat16 nearest = rounded<at::BFloat16>(rest);
      to[p * part + i] = nearest;
      rest -= widened(nearest);
    }
  }
}
LOWRANK_VECTOR_VERSIONS(void, splitted, split_numbers, (int64_t count, const float* from, int64_t step, at::BFloat16* to, int64_t part),
                        (count, from, step, to, part))

void SplitFactor::split_run(int64_t count, const float* from, int64_t step, at::BFloat16* to, int64_t part) {
  splitted(count, from, step, to, part);
}

}  // namespace

at::Tensor split_by_taps(const at::Tensor& A, int64_t taps) {
  const int64_t rank = A.size(0), rows = (3 * rank + 15) / 16 * 16, n = A.size(1) / taps;
  const at::Tensor a = A.detach().contiguous(), parts = at::empty({taps, rows, n}, a.options().dtype(at::kBFloat16));
  const float* from = a.const_data_ptr<float>();
  auto* to = parts.mutable_data_ptr<at::BFloat16>();
  tensor::parallel_for(0, taps, 1, [&](int64_t begin, int64_t end) {
    for (int64_t tap = begin; tap < end; ++tap) {
      at::BFloat16* here = to + tap * rows * n;
      for (int64_t r = 0; r < rank; ++r) splitted(n, from + r * n * taps + tap, taps, here + r * n, rank * n);
      std::fill(here + 3 * rank * n, here + rows * n, at::BFloat16(0.0F));
    }
  });
  return parts;
}

void join_parts(int64_t rank, int64_t columns, const float* sums, int64_t stride, float* to) {
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t r = 0; r < rank; ++r) {
      *to++ = sums[r * stride + j] + sums[(rank + r) * stride + j] + sums[(2 * rank + r) * stride + j];
    }
  }
}

at::Tensor wide_projection(const at::Tensor& weight, const at::Tensor& A, int64_t taps) {
  const bool split =
      weight.is_cpu() && weight.scalar_type() == at::kBFloat16 && A.scalar_type() == at::kFloat && has_tiles() && weight.size(1) % 2 == 0;
  if (!split) {
    const at::Tensor by_tap = taps == 1 ? A : A.unflatten(1, {-1, taps}).transpose(1, 2).flatten(1);
    return rank_projection(weight.to(A.scalar_type()), by_tap);
  }
  const SplitFactor factor(A.detach(), taps);
  const int64_t rows = weight.size(0), depth = weight.size(1), rank = A.size(0);
  const at::Tensor w = weight.contiguous(), projected = at::empty({rows, rank}, A.options());
  const auto* p = w.const_data_ptr<at::BFloat16>();
  float* to = projected.mutable_data_ptr<float>();
  tensor::parallel_for(0, rows, kTileRows, [&](int64_t begin, int64_t end) {
    const TileScope scope;
    Buffer<float> sums(kTileRows * factor.columns());
    for (int64_t first = begin; first < end; first += kTileRows) {
      const int64_t count = std::min(kTileRows, end - first);
      tile_product(count, factor.columns(), depth, p + first * depth, depth, factor.packed(), sums.get(), factor.columns(), /*add=*/false);
      factor.join(count, sums.get(), to + first * rank);
    }
  });
  return projected;
}

}  // namespace lowrank::kernels
