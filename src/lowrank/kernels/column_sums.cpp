#include "lowrank/kernels/column_sums.h"

#include <algorithm>

#include "lowrank/kernels/bfloat16.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kStripe = 64;  // columns whose sums stay in registers
constexpr int64_t kGroup = 8;    // rows that are read side by side, from end to end, as memory gives them fastest

template <class T, class S, bool kWithDots>
LOWRANK_ALWAYS_INLINE void add_stripe(int64_t rows, int64_t stride, int64_t width, const S* a, const S* b, T* dots, T* sums) {
  T sum[kStripe] = {}, dot[kStripe] = {};
  const auto add_row = [&](const S* x, const S* y, int64_t count) __attribute__((always_inline)) {
    for (int64_t j = 0; j < count; ++j) {
      const T value = widened(x[j]);
      sum[j] += value;
      if constexpr (kWithDots) dot[j] += value * widened(y[j]);
    }
  };
  for (int64_t i = 0; i < rows; ++i) {
    const S *x = a + i * stride, *y = kWithDots ? b + i * stride : nullptr;
    if (width == kStripe)
      add_row(x, y, kStripe);  // a count that the compiler knows
    else
      add_row(x, y, width);
  }
  for (int64_t j = 0; j < width; ++j) {
    if (sums) sums[j] += sum[j];
    if constexpr (kWithDots) dots[j] += dot[j];
  }
}

template <VectorUnit, class T, class S>
LOWRANK_ALWAYS_INLINE void add_all(int64_t rows, int64_t columns, const S* a, const S* b, T* dots, T* sums) {
  for (int64_t i = 0; i < rows; i += kGroup) {
    const int64_t count = std::min(kGroup, rows - i);
    for (int64_t j = 0; j < columns; j += kStripe) {
      const int64_t width = std::min(kStripe, columns - j), at = i * columns + j;
      T* sums_here = sums ? sums + j : nullptr;
      if (b)
        add_stripe<T, S, true>(count, columns, width, a + at, b + at, dots + j, sums_here);
      else
        add_stripe<T, S, false>(count, columns, width, a + at, nullptr, nullptr, sums_here);
    }
  }
}

LOWRANK_VECTOR_VERSIONS(void, bfloat16_sums, add_all,
                        (int64_t rows, int64_t columns, const at::BFloat16* a, const at::BFloat16* b, float* dots, float* sums),
                        (rows, columns, a, b, dots, sums))
LOWRANK_VECTOR_VERSIONS(void, float_sums, add_all,
                        (int64_t rows, int64_t columns, const float* a, const float* b, float* dots, float* sums),
                        (rows, columns, a, b, dots, sums))
LOWRANK_VECTOR_VERSIONS(void, double_sums, add_all,
                        (int64_t rows, int64_t columns, const double* a, const double* b, double* dots, double* sums),
                        (rows, columns, a, b, dots, sums))

}  // namespace

void add_column_sums(int64_t rows, int64_t columns, const at::BFloat16* a, const at::BFloat16* b, float* dots, float* sums) {
  bfloat16_sums(rows, columns, a, b, dots, sums);
}

void add_column_sums(int64_t rows, int64_t columns, const float* a, const float* b, float* dots, float* sums) {
  float_sums(rows, columns, a, b, dots, sums);
}

void add_column_sums(int64_t rows, int64_t columns, const double* a, const double* b, double* dots, double* sums) {
  double_sums(rows, columns, a, b, dots, sums);
}

}  // namespace lowrank::kernels
