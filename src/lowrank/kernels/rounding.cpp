#include "lowrank/kernels/rounding.h"

#include <algorithm>
#include <utility>

#include "lowrank/kernels/bfloat16.h"

namespace lowrank::kernels {

namespace {

LOWRANK_ALWAYS_INLINE void finish_row(int64_t columns, at::BFloat16* y, const float* c, const float* gain, const float* bias) {
  if (gain && bias) {
    for (int64_t j = 0; j < columns; ++j) y[j] = rounded<at::BFloat16>((widened(y[j]) + c[j]) * gain[j] + bias[j]);
  } else if (gain) {
    for (int64_t j = 0; j < columns; ++j) y[j] = rounded<at::BFloat16>((widened(y[j]) + c[j]) * gain[j]);
  } else if (bias) {
    for (int64_t j = 0; j < columns; ++j) y[j] = rounded<at::BFloat16>(widened(y[j]) + c[j] + bias[j]);
  } else {
    for (int64_t j = 0; j < columns; ++j) y[j] = rounded<at::BFloat16>(widened(y[j]) + c[j]);
  }
}

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void finish(int64_t rows, int64_t columns, at::BFloat16* y, int64_t y_stride, const float* sums, int64_t sums_stride,
                                  const float* gain, const float* bias) {
  for (int64_t i = 0; i < rows; ++i) finish_row(columns, y + i * y_stride, sums + i * sums_stride, gain, bias);
}

LOWRANK_VECTOR_VERSIONS(void, finished_rows, finish,
                        (int64_t rows, int64_t columns, at::BFloat16* y, int64_t y_stride, const float* sums, int64_t sums_stride,
                         const float* gain, const float* bias),
                        (rows, columns, y, y_stride, sums, sums_stride, gain, bias))

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void round_all(int64_t count, const float* from, at::BFloat16* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = rounded<at::BFloat16>(from[i]);
}

LOWRANK_VECTOR_VERSIONS(void, rounded_numbers, round_all, (int64_t count, const float* from, at::BFloat16* to), (count, from, to))

constexpr int kSide = 16;
using Lane = float __attribute__((vector_size(kSide * sizeof(float))));
using Bits = uint32_t __attribute__((vector_size(kSide * sizeof(uint32_t))));
using Half = uint16_t __attribute__((vector_size(kSide * sizeof(uint16_t))));

/// Changes places of the blocks of `Step` numbers that lie across the diagonal, in each pair of rows `Step` apart.
template <int Step, size_t... Column>
LOWRANK_ALWAYS_INLINE void exchange(Lane (&rows)[kSide], std::index_sequence<Column...>) {
  for (int i = 0; i < kSide; ++i) {
    if (i & Step) continue;
    const Lane a = rows[i], b = rows[i + Step];
    rows[i] = __builtin_shufflevector(a, b, (Column & Step ? kSide + static_cast<int>(Column) - Step : static_cast<int>(Column))...);
    rows[i + Step] = __builtin_shufflevector(a, b, (Column & Step ? kSide + static_cast<int>(Column) : static_cast<int>(Column) + Step)...);
  }
}

/// A square of kSide rows and columns.
LOWRANK_ALWAYS_INLINE void turn_square(const float* from, int64_t from_stride, at::BFloat16* to, int64_t stride) {
  Lane rows[kSide];
  for (int i = 0; i < kSide; ++i) __builtin_memcpy(&rows[i], from + i * from_stride, sizeof rows[i]);
  constexpr auto kColumns = std::make_index_sequence<kSide>();
  exchange<8>(rows, kColumns);
  exchange<4>(rows, kColumns);
  exchange<2>(rows, kColumns);
  exchange<1>(rows, kColumns);
  for (int i = 0; i < kSide; ++i) {  // rounded<at::BFloat16>() for a vector
    Bits bits;
    __builtin_memcpy(&bits, &rows[i], sizeof bits);
    const Bits rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    const auto half = __builtin_convertvector((bits & 0x7FFFFFFF) > 0x7F800000 ? Bits{} + 0x7FC0 : rounded, Half);
    __builtin_memcpy(to + i * stride, &half, sizeof half);
  }
}

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void turn_all(int64_t rows, int64_t columns, const float* from, at::BFloat16* to, int64_t stride) {
  for (int64_t column = 0; column < columns; column += kSide) {
    int64_t row = 0;
    for (; column + kSide <= columns && row + kSide <= rows; row += kSide) {
      turn_square(from + row * columns + column, columns, to + column * stride + row, stride);
    }
    for (; row < rows; ++row) {
      for (int64_t c = column; c < std::min(columns, column + kSide); ++c)
        to[c * stride + row] = rounded<at::BFloat16>(from[row * columns + c]);
    }
  }
}

LOWRANK_VECTOR_VERSIONS(void, turned_numbers, turn_all,
                        (int64_t rows, int64_t columns, const float* from, at::BFloat16* to, int64_t stride),
                        (rows, columns, from, to, stride))

}  // namespace

void round_numbers(int64_t count, const float* from, at::BFloat16* to) { rounded_numbers(count, from, to); }

void turn_rounded(int64_t rows, int64_t columns, const float* from, at::BFloat16* to, int64_t stride) {
  turned_numbers(rows, columns, from, to, stride);
}

void finish_rows(int64_t rows, int64_t columns, at::BFloat16* y, int64_t y_stride, const float* sums, int64_t sums_stride,
                 const float* gain, const float* bias) {
  finished_rows(rows, columns, y, y_stride, sums, sums_stride, gain, bias);
}

}  // namespace lowrank::kernels
