#include "lowrank/kernels/rank_mix.h"

#include "lowrank/kernels/narrow_product.h"
#include "lowrank/kernels/vector_versions.h"

namespace lowrank::kernels {

namespace {

/// `Fixed` columns where the compiler may know their number, 0 where it may not.
template <int64_t Fixed, class T>
LOWRANK_ALWAYS_INLINE void mix_of(int64_t rows, int64_t to, int64_t from, int64_t any_columns, const T* matrix, int64_t row, int64_t column,
                                  const T* h, T* mixed) {
  constexpr int64_t kLanes = Fixed ? Fixed : kNarrowLanes<T>;
  const int64_t columns = Fixed ? Fixed : any_columns;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t c = 0; c < columns; c += kLanes) {
      const T* in = h + i * from * columns + c;
      for (int64_t l = 0; l < to; ++l) {
        T sums[kLanes] = {};
        for (int64_t m = 0; m < from; ++m) {
          const T factor = matrix[l * row + m * column];
          for (int64_t e = 0; e < kLanes; ++e) sums[e] += factor * in[m * columns + e];
        }
        for (int64_t e = 0; e < kLanes; ++e) mixed[(i * to + l) * columns + c + e] = sums[e];
      }
    }
  }
}

template <int64_t Fixed, class T>
LOWRANK_ALWAYS_INLINE void add_gradient_of(int64_t rows, int64_t to, int64_t from, int64_t any_columns, const T* g, const T* h, T* lanes) {
  constexpr int64_t kLanes = kNarrowLanes<T>;
  const int64_t columns = Fixed ? Fixed : any_columns;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t l = 0; l < to; ++l) {
      for (int64_t m = 0; m < from; ++m) {
        const T *left = g + (i * to + l) * columns, *right = h + (i * from + m) * columns;
        T *sums = lanes + (l * from + m) * kLanes, sum[kLanes];
        for (int64_t e = 0; e < kLanes; ++e) sum[e] = sums[e];
        for (int64_t c = 0; c < columns; c += kLanes) {
          for (int64_t e = 0; e < kLanes; ++e) sum[e] += left[c + e] * right[c + e];
        }
        for (int64_t e = 0; e < kLanes; ++e) sums[e] = sum[e];
      }
    }
  }
}

constexpr int64_t kUsual = 16;  // columns of the usual ranks

template <VectorUnit, class T>
LOWRANK_ALWAYS_INLINE void mix(int64_t rows, int64_t to, int64_t from, int64_t columns, const T* matrix, int64_t row, int64_t column,
                               const T* h, T* mixed) {
  if (columns == kUsual)
    mix_of<kUsual>(rows, to, from, columns, matrix, row, column, h, mixed);
  else
    mix_of<0>(rows, to, from, columns, matrix, row, column, h, mixed);
}

template <VectorUnit, class T>
LOWRANK_ALWAYS_INLINE void add_gradient(int64_t rows, int64_t to, int64_t from, int64_t columns, const T* g, const T* h, T* lanes) {
  if (columns == kUsual)
    add_gradient_of<kUsual>(rows, to, from, columns, g, h, lanes);
  else
    add_gradient_of<0>(rows, to, from, columns, g, h, lanes);
}

#define LOWRANK_MIX_ARGUMENTS (rows, to, from, columns, matrix, row, column, h, mixed)
#define LOWRANK_GRADIENT_ARGUMENTS (rows, to, from, columns, g, h, lanes)

LOWRANK_VECTOR_VERSIONS(void, float_mix, mix,
                        (int64_t rows, int64_t to, int64_t from, int64_t columns, const float* matrix, int64_t row, int64_t column,
                         const float* h, float* mixed),
                        LOWRANK_MIX_ARGUMENTS)
LOWRANK_VECTOR_VERSIONS(void, double_mix, mix,
                        (int64_t rows, int64_t to, int64_t from, int64_t columns, const double* matrix, int64_t row, int64_t column,
                         const double* h, double* mixed),
                        LOWRANK_MIX_ARGUMENTS)
LOWRANK_VECTOR_VERSIONS(void, float_mix_gradient, add_gradient,
                        (int64_t rows, int64_t to, int64_t from, int64_t columns, const float* g, const float* h, float* lanes),
                        LOWRANK_GRADIENT_ARGUMENTS)
LOWRANK_VECTOR_VERSIONS(void, double_mix_gradient, add_gradient,
                        (int64_t rows, int64_t to, int64_t from, int64_t columns, const double* g, const double* h, double* lanes),
                        LOWRANK_GRADIENT_ARGUMENTS)

}  // namespace

void mix_rows(int64_t rows, int64_t to, int64_t from, int64_t columns, const float* matrix, int64_t row, int64_t column, const float* h,
              float* mixed) {
  float_mix LOWRANK_MIX_ARGUMENTS;
}

void mix_rows(int64_t rows, int64_t to, int64_t from, int64_t columns, const double* matrix, int64_t row, int64_t column, const double* h,
              double* mixed) {
  double_mix LOWRANK_MIX_ARGUMENTS;
}

void add_mix_gradient(int64_t rows, int64_t to, int64_t from, int64_t columns, const float* g, const float* h, float* lanes) {
  float_mix_gradient LOWRANK_GRADIENT_ARGUMENTS;
}

void add_mix_gradient(int64_t rows, int64_t to, int64_t from, int64_t columns, const double* g, const double* h, double* lanes) {
  double_mix_gradient LOWRANK_GRADIENT_ARGUMENTS;
}

}  // namespace lowrank::kernels
