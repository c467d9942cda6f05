#include "lowrank/kernels/rounding.h"

#include <algorithm>

#include "lowrank/kernels/bfloat16.h"
#include "lowrank/kernels/turn_square.h"

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

template <VectorUnit, class T>
LOWRANK_ALWAYS_INLINE void round_all_rows(int64_t rows, int64_t columns, const T* from, int64_t from_stride, float factor,
                                          const float* factors, at::BFloat16* to, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) {
    const float own = factors ? factor * factors[i] : factor;
    for (int64_t j = 0; j < columns; ++j) to[i * stride + j] = rounded<at::BFloat16>(own * widened(from[i * from_stride + j]));
    for (int64_t j = columns; j < stride; ++j) to[i * stride + j] = at::BFloat16(0, at::BFloat16::from_bits());
  }
}

LOWRANK_VECTOR_VERSIONS(void, rounded_floats, round_all_rows,
                        (int64_t rows, int64_t columns, const float* from, int64_t from_stride, float factor, const float* factors,
                         at::BFloat16* to, int64_t stride),
                        (rows, columns, from, from_stride, factor, factors, to, stride))
LOWRANK_VECTOR_VERSIONS(void, rounded_bfloat16s, round_all_rows,
                        (int64_t rows, int64_t columns, const at::BFloat16* from, int64_t from_stride, float factor, const float* factors,
                         at::BFloat16* to, int64_t stride),
                        (rows, columns, from, from_stride, factor, factors, to, stride))

LOWRANK_ALWAYS_INLINE void write_row(int64_t columns, const float* sums, const float* gain, const float* bias, at::BFloat16* y) {
  if (gain && bias) {
    for (int64_t j = 0; j < columns; ++j) y[j] = rounded<at::BFloat16>(sums[j] * gain[j] + bias[j]);
  } else if (gain) {
    for (int64_t j = 0; j < columns; ++j) y[j] = rounded<at::BFloat16>(sums[j] * gain[j]);
  } else if (bias) {
    for (int64_t j = 0; j < columns; ++j) y[j] = rounded<at::BFloat16>(sums[j] + bias[j]);
  } else {
    for (int64_t j = 0; j < columns; ++j) y[j] = rounded<at::BFloat16>(sums[j]);
  }
}

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void write_all(int64_t rows, int64_t columns, const float* sums, int64_t sums_stride, const float* gain,
                                     const float* bias, at::BFloat16* y, int64_t y_stride) {
  for (int64_t i = 0; i < rows; ++i) write_row(columns, sums + i * sums_stride, gain, bias, y + i * y_stride);
}

LOWRANK_VECTOR_VERSIONS(void, written_sums, write_all,
                        (int64_t rows, int64_t columns, const float* sums, int64_t sums_stride, const float* gain, const float* bias,
                         at::BFloat16* y, int64_t y_stride),
                        (rows, columns, sums, sums_stride, gain, bias, y, y_stride))

using Bits = uint32_t __attribute__((vector_size(kSquareSide * sizeof(uint32_t))));
using Half = uint16_t __attribute__((vector_size(kSquareSide * sizeof(uint16_t))));

/// A square, turned and rounded.
LOWRANK_ALWAYS_INLINE void round_square(const float* from, int64_t from_stride, at::BFloat16* to, int64_t stride) {
  SquareRow rows[kSquareSide];
  for (int i = 0; i < kSquareSide; ++i) __builtin_memcpy(&rows[i], from + i * from_stride, sizeof rows[i]);
  turn_square(rows);
  for (int i = 0; i < kSquareSide; ++i) {  // rounded<at::BFloat16>() for a vector
    Bits bits;
    __builtin_memcpy(&bits, &rows[i], sizeof bits);
    const Bits rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    const auto half = __builtin_convertvector((bits & 0x7FFFFFFF) > 0x7F800000 ? Bits{} + 0x7FC0 : rounded, Half);
    __builtin_memcpy(to + i * stride, &half, sizeof half);
  }
}

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void turn_all(int64_t rows, int64_t columns, const float* from, at::BFloat16* to, int64_t stride) {
  for (int64_t column = 0; column < columns; column += kSquareSide) {
    int64_t row = 0;
    for (; column + kSquareSide <= columns && row + kSquareSide <= rows; row += kSquareSide) {
      round_square(from + row * columns + column, columns, to + column * stride + row, stride);
    }
    for (; row < rows; ++row) {
      for (int64_t c = column; c < std::min(columns, column + kSquareSide); ++c)
        to[c * stride + row] = rounded<at::BFloat16>(from[row * columns + c]);
    }
  }
}

LOWRANK_VECTOR_VERSIONS(void, turned_numbers, turn_all,
                        (int64_t rows, int64_t columns, const float* from, at::BFloat16* to, int64_t stride),
                        (rows, columns, from, to, stride))

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void scale_all(int64_t rows, int64_t columns, const at::BFloat16* from, const float* gain, at::BFloat16* to) {
  for (int64_t i = 0; i < rows; ++i, from += columns, to += columns) {
    for (int64_t j = 0; j < columns; ++j) to[j] = rounded<at::BFloat16>(widened(from[j]) * gain[j]);
  }
}

LOWRANK_VECTOR_VERSIONS(void, scaled_columns, scale_all,
                        (int64_t rows, int64_t columns, const at::BFloat16* from, const float* gain, at::BFloat16* to),
                        (rows, columns, from, gain, to))

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void turn_and_scale(int64_t rows, int64_t columns, const float* from, const float* factors, float* to) {
  for (int64_t column = 0; column < columns; column += kSquareSide) {
    int64_t row = 0;
    for (; column + kSquareSide <= columns && row + kSquareSide <= rows; row += kSquareSide) {
      SquareRow square[kSquareSide];
      for (int i = 0; i < kSquareSide; ++i) __builtin_memcpy(&square[i], from + (row + i) * columns + column, sizeof square[i]);
      turn_square(square);
      for (int i = 0; i < kSquareSide; ++i) {
        square[i] *= factors[column + i];
        __builtin_memcpy(to + (column + i) * rows + row, &square[i], sizeof square[i]);
      }
    }
    for (; row < rows; ++row) {
      for (int64_t c = column; c < std::min(columns, column + kSquareSide); ++c) to[c * rows + row] = factors[c] * from[row * columns + c];
    }
  }
}

LOWRANK_VECTOR_VERSIONS(void, turned_and_scaled, turn_and_scale,
                        (int64_t rows, int64_t columns, const float* from, const float* factors, float* to),
                        (rows, columns, from, factors, to))

}  // namespace

void scale_columns(int64_t rows, int64_t columns, const at::BFloat16* from, const float* gain, at::BFloat16* to) {
  scaled_columns(rows, columns, from, gain, to);
}

void turn_scaled(int64_t rows, int64_t columns, const float* from, const float* factors, float* to) {
  turned_and_scaled(rows, columns, from, factors, to);
}

void round_numbers(int64_t count, const float* from, at::BFloat16* to) { rounded_numbers(count, from, to); }

void round_rows(int64_t rows, int64_t columns, const float* from, int64_t from_stride, float factor, const float* factors, at::BFloat16* to,
                int64_t stride) {
  rounded_floats(rows, columns, from, from_stride, factor, factors, to, stride);
}

void round_rows(int64_t rows, int64_t columns, const at::BFloat16* from, int64_t from_stride, float factor, const float* factors,
                at::BFloat16* to, int64_t stride) {
  rounded_bfloat16s(rows, columns, from, from_stride, factor, factors, to, stride);
}

void write_sums(int64_t rows, int64_t columns, const float* sums, int64_t sums_stride, const float* gain, const float* bias,
                at::BFloat16* y, int64_t y_stride) {
  written_sums(rows, columns, sums, sums_stride, gain, bias, y, y_stride);
}

void turn_rounded(int64_t rows, int64_t columns, const float* from, at::BFloat16* to, int64_t stride) {
  turned_numbers(rows, columns, from, to, stride);
}

void finish_rows(int64_t rows, int64_t columns, at::BFloat16* y, int64_t y_stride, const float* sums, int64_t sums_stride,
                 const float* gain, const float* bias) {
  finished_rows(rows, columns, y, y_stride, sums, sums_stride, gain, bias);
}

}  // namespace lowrank::kernels
