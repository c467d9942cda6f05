#include "lowrank/kernels/row_squares.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <algorithm>
#include <vector>

#include "lowrank/kernels/vector_versions.h"

namespace lowrank::kernels {

namespace {

template <class T>
struct Factors {
  int64_t rows, rank, width;
  const T *projected, *a, *b;  // [rows, rank], [rank, width], [rows, rank]
  const double* squares;
};

/// A·Aᵀ [rank, rank]
template <class T>
LOWRANK_ALWAYS_INLINE void multiply_by_itself(const Factors<T>& f, double* gram) {
#pragma clang fp reassociate(on) contract(fast)
  for (int64_t r = 0; r < f.rank; ++r) {
    for (int64_t q = 0; q <= r; ++q) {
      const T *x = f.a + r * f.width, *y = f.a + q * f.width;
      double sum = 0;
      for (int64_t i = 0; i < f.width; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
      gram[r * f.rank + q] = gram[q * f.rank + r] = sum;
    }
  }
}

/// gram and row: room for rank² and rank numbers.
template <VectorUnit, class T>
LOWRANK_ALWAYS_INLINE void sum_rows(const Factors<T>& f, double scale, double* gram, double* row, double* sums) {
#pragma clang fp reassociate(on) contract(fast)
  multiply_by_itself(f, gram);
  for (int64_t j = 0; j < f.rows; ++j) {
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

LOWRANK_VECTOR_VERSIONS(void, float_row_sums, sum_rows, (const Factors<float>& f, double scale, double* gram, double* row, double* sums),
                        (f, scale, gram, row, sums))
LOWRANK_VECTOR_VERSIONS(void, double_row_sums, sum_rows, (const Factors<double>& f, double scale, double* gram, double* row, double* sums),
                        (f, scale, gram, row, sums))

void row_sums(const Factors<float>& f, double scale, double* gram, double* row, double* sums) { float_row_sums(f, scale, gram, row, sums); }

void row_sums(const Factors<double>& f, double scale, double* gram, double* row, double* sums) {
  double_row_sums(f, scale, gram, row, sums);
}

/// The plain twin, for devices without a kernel here.
at::Tensor by_operators(const at::Tensor& projected, const at::Tensor& A, const at::Tensor& B, double scale, const at::Tensor& squares) {
  const at::Tensor a = A.to(at::kDouble), b = B.to(at::kDouble), gram = at::mm(b, at::mm(a, a.t()));
  return projected.to(at::kDouble).mul(2 * scale).add_(gram, scale * scale).mul_(b).sum(1).add_(squares);
}

}  // namespace

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
    std::vector<double> room(static_cast<size_t>(f.rank * (f.rank + 1)));
    row_sums(f, scale, room.data(), room.data() + f.rank * f.rank, sums.mutable_data_ptr<double>());
  });
  return sums;
}

}  // namespace lowrank::kernels
