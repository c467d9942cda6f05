#include "lowrank/kernels/row_squares.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <algorithm>
#include <vector>

#include "lowrank/kernels/bfloat16.h"
#include "lowrank/kernels/vector_versions.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kPiece = 2048, kRows = 128;  // columns of A and rows of a thread at a time

template <class T>
struct Factors {
  int64_t rows, rank, width;
  const T *projected, *a, *b;  // [rows, rank], [rank, width], [rows, rank]
  const double* squares;
};

/// Σ over columns first … last of A·Aᵀ [rank, rank]
template <VectorUnit, class T>
LOWRANK_ALWAYS_INLINE void multiply_by_itself(const Factors<T>& f, int64_t first, int64_t last, double* gram) {
#pragma clang fp reassociate(on) contract(fast)
  for (int64_t r = 0; r < f.rank; ++r) {
    for (int64_t q = 0; q <= r; ++q) {
      const T *x = f.a + r * f.width, *y = f.a + q * f.width;
      double sum = 0;
      for (int64_t i = first; i < last; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
      gram[r * f.rank + q] = gram[q * f.rank + r] = sum;
    }
  }
}

/// row: room for rank numbers.
template <VectorUnit, class T>
LOWRANK_ALWAYS_INLINE void sum_rows(const Factors<T>& f, int64_t first, int64_t last, double scale, const double* gram, double* row,
                                    double* sums) {
#pragma clang fp reassociate(on) contract(fast)
  for (int64_t j = first; j < last; ++j) {
    const T *u = f.projected + j * f.rank, *b = f.b + j * f.rank;
    for (int64_t r = 0; r < f.rank; ++r) row[r] = 2 * static_cast<double>(u[r]);
    for (int64_t q = 0; q < f.rank; ++q) {
      const double factor = scale * static_cast<double>(b[q]);
      for (int64_t r = 0; r < f.rank; ++r) row[r] += factor * gram[q * f.rank + r];
    }
    double sum = 0;
    for (int64_t r = 0; r < f.rank; ++r) sum += static_cast<double>(b[r]) * row[r];
    sums[j] = f.squares[j] + scale * sum;
  }
}

#define LOWRANK_ROW_SUMS(T)                                                                                                                \
  LOWRANK_VECTOR_VERSIONS(void, gram_of, multiply_by_itself, (const Factors<T>& f, int64_t first, int64_t last, double* gram),             \
                          (f, first, last, gram))                                                                                          \
  LOWRANK_VECTOR_VERSIONS(void, row_sums, sum_rows,                                                                                        \
                          (const Factors<T>& f, int64_t first, int64_t last, double scale, const double* gram, double* row, double* sums), \
                          (f, first, last, scale, gram, row, sums))
LOWRANK_ROW_SUMS(float)
LOWRANK_ROW_SUMS(double)

/// Both steps on all threads; the order of every sum is the same whatever their number.
template <class T>
void sum_all(const Factors<T>& f, double scale, double* sums) {
  const int64_t square = f.rank * f.rank, pieces = (f.width + kPiece - 1) / kPiece;
  std::vector<double> grams(static_cast<size_t>(pieces * square));
  tensor::parallel_for(0, pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) gram_of(f, i * kPiece, std::min(f.width, (i + 1) * kPiece), grams.data() + i * square);
  });
  for (int64_t i = square; i < pieces * square; ++i) grams[static_cast<size_t>(i % square)] += grams[static_cast<size_t>(i)];
  tensor::parallel_for(0, f.rows, kRows, [&](int64_t begin, int64_t end) {
    std::vector<double> row(static_cast<size_t>(f.rank));
    row_sums(f, begin, end, scale, grams.data(), row.data(), sums);
  });
}

template <VectorUnit, class T>
LOWRANK_ALWAYS_INLINE double sum_squares(int64_t count, const T* x) {
#pragma clang fp reassociate(on) contract(fast)
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(widened(x[i])) * static_cast<double>(widened(x[i]));
  return sum;
}
LOWRANK_VECTOR_VERSIONS(double, squares_of, sum_squares, (int64_t count, const float* x), (count, x))
LOWRANK_VECTOR_VERSIONS(double, squares_of, sum_squares, (int64_t count, const double* x), (count, x))
LOWRANK_VECTOR_VERSIONS(double, squares_of, sum_squares, (int64_t count, const at::BFloat16* x), (count, x))

/// Whether each row's numbers lie side by side, in whatever order, one row behind the other.
bool has_dense_rows(const at::Tensor& weight) {
  return weight.is_non_overlapping_and_dense() && weight.stride(0) * weight.size(0) == weight.numel();
}

/// The plain twin, for devices without a kernel here.
at::Tensor by_operators(const at::Tensor& projected, const at::Tensor& A, const at::Tensor& B, double scale, const at::Tensor& squares) {
  const at::Tensor a = A.to(at::kDouble), b = B.to(at::kDouble), gram = at::mm(b, at::mm(a, a.t()));
  return projected.to(at::kDouble).mul(2 * scale).add_(gram, scale * scale).mul_(b).sum(1).add_(squares);
}

}  // namespace

at::Tensor row_squares(const at::Tensor& weight) {
  const bool own = weight.is_cpu() && weight.scalar_type() != at::kHalf && weight.numel() > 0 && has_dense_rows(weight);
  if (!own) return at::linalg_vector_norm(weight.flatten(1), 2, {1}, false, at::kDouble).square();
  const int64_t rows = weight.size(0), width = weight.numel() / rows;
  const at::Tensor sums = at::empty({rows}, weight.options().dtype(at::kDouble));
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, weight.scalar_type(), "row_squares", [&] {
    const auto* from = weight.const_data_ptr<scalar_t>();
    double* to = sums.mutable_data_ptr<double>();
    tensor::parallel_for(0, rows, std::max<int64_t>(1, (1 << 16) / width), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) to[row] = squares_of(width, from + row * width);
    });
  });
  return sums;
}

at::Tensor adapted_row_squares(const at::Tensor& projected, const at::Tensor& A, const at::Tensor& B, double scale,
                               const at::Tensor& squares) {
  const auto dtype = A.scalar_type();
  if (!A.is_cpu() || (dtype != at::kFloat && dtype != at::kDouble)) return by_operators(projected, A, B, scale, squares);
  const at::Tensor u = projected.contiguous(), a = A.contiguous(), b = B.contiguous(), sums = at::empty_like(squares);
  AT_DISPATCH_FLOATING_TYPES(dtype, "adapted_row_squares", [&] {
    const Factors<scalar_t> f{b.size(0),
                              b.size(1),
                              a.size(1),
                              u.const_data_ptr<scalar_t>(),
                              a.const_data_ptr<scalar_t>(),
                              b.const_data_ptr<scalar_t>(),
                              squares.const_data_ptr<double>()};
    sum_all(f, scale, sums.mutable_data_ptr<double>());
  });
  return sums;
}

}  // namespace lowrank::kernels
