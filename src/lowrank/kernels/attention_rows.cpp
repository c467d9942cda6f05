#include "lowrank/kernels/attention_rows.h"

#include <algorithm>
#include <limits>

#include "lowrank/kernels/bfloat16.h"
#include "lowrank/kernels/exponential.h"
#include "lowrank/kernels/tile_product.h"
#include "lowrank/kernels/turn_square.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kLanes = 16;  // of which every padded width is a multiple

int64_t padded(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void gather(int64_t rows, int64_t depth, const at::BFloat16* from, int64_t stride, at::BFloat16* to) {
  const int64_t width = padded(depth, kTileDepth);
  for (int64_t i = 0; i < rows; ++i) {
    const at::BFloat16* row = from + i * stride;
    at::BFloat16* out = to + i * width;
    __builtin_prefetch(row + depth);  // the next head's, which the next tile reads
    for (int64_t c = 0; c < depth; ++c) out[c] = row[c];
    for (int64_t c = depth; c < width; ++c) out[c].x = 0;
  }
  std::fill(to + rows * width, to + padded(rows, kTileSide) * width, at::BFloat16(0, at::BFloat16::from_bits()));
}

LOWRANK_VECTOR_VERSIONS(void, gathered, gather, (int64_t rows, int64_t depth, const at::BFloat16* from, int64_t stride, at::BFloat16* to),
                        (rows, depth, from, stride, to))

/// body(first column, columns, where the panel lies in the packed numbers), as pack_tiles() divides them
template <class Body>
LOWRANK_ALWAYS_INLINE void for_each_panel(int64_t depth, int64_t columns, Body&& body) {
  for (int64_t j = 0; j < columns; j += kTilePanel) body(j, std::min(kTilePanel, columns - j), j * depth);
}

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void pair_rows(int64_t rows, int64_t columns, const at::BFloat16* from, at::BFloat16* packed) {
  for_each_panel(
      rows, columns, [&](int64_t first, int64_t width, int64_t at) __attribute__((always_inline)) {
        for (int64_t i = 0; i < rows; i += 2) {
          const at::BFloat16 *even = from + i * columns + first, *odd = even + columns;
          at::BFloat16* to = packed + at + i * width;
          for (int64_t j = 0; j < width; j += kLanes) {
            uint32_t pairs[kLanes];
            for (int64_t l = 0; l < kLanes; ++l) pairs[l] = even[j + l].x | static_cast<uint32_t>(odd[j + l].x) << 16;
            __builtin_memcpy(to + 2 * j, pairs, sizeof pairs);
          }
        }
      });
}

LOWRANK_VECTOR_VERSIONS(void, paired_rows, pair_rows, (int64_t rows, int64_t columns, const at::BFloat16* from, at::BFloat16* packed),
                        (rows, columns, from, packed))

/// Two neighbours in a row are one number here, and stay neighbours.
template <VectorUnit>
LOWRANK_ALWAYS_INLINE void turn_pairs(int64_t rows, int64_t depth, const at::BFloat16* from, at::BFloat16* packed) {
  for_each_panel(
      depth, rows, [&](int64_t first, int64_t width, int64_t at) __attribute__((always_inline)) {
        for (int64_t j = 0; j < width; j += kSquareSide) {
          for (int64_t c = 0; c < depth; c += 2 * kSquareSide) {
            SquareRow square[kSquareSide];
            for (int i = 0; i < kSquareSide; ++i) __builtin_memcpy(&square[i], from + (first + j + i) * depth + c, sizeof square[i]);
            turn_square(square);
            for (int i = 0; i < kSquareSide; ++i) __builtin_memcpy(packed + at + (c + 2 * i) * width + 2 * j, &square[i], sizeof square[i]);
          }
        }
      });
}

LOWRANK_VECTOR_VERSIONS(void, turned_pairs, turn_pairs, (int64_t rows, int64_t depth, const at::BFloat16* from, at::BFloat16* packed),
                        (rows, depth, from, packed))

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void softmax(int64_t rows, int64_t keys, int64_t width, float* scores, float scale, at::BFloat16* p, float* highest,
                                   float* inverse) {
#pragma clang fp reassociate(on) contract(fast)
  for (int64_t i = 0; i < rows; ++i) {
    float *row = scores + i * width, most[kLanes], sums[kLanes] = {};
    for (int64_t j = keys; j < width; ++j) row[j] = -std::numeric_limits<float>::infinity();
    for (int64_t l = 0; l < kLanes; ++l) most[l] = row[l];
    for (int64_t j = kLanes; j < width; j += kLanes) {
      for (int64_t l = 0; l < kLanes; ++l) most[l] = row[j + l] > most[l] ? row[j + l] : most[l];
    }
    for (int64_t half = kLanes / 2; half > 0; half /= 2) {
      for (int64_t l = 0; l < half; ++l) most[l] = most[l + half] > most[l] ? most[l + half] : most[l];
    }
    const float shift = highest[i] = most[0] * scale;
    for (int64_t j = 0; j < width; j += kLanes) {
      for (int64_t l = 0; l < kLanes; ++l) {
        const float value = exponential(row[j + l] * scale - shift);
        sums[l] += value;
        p[i * width + j + l] = rounded<at::BFloat16>(value);
      }
    }
    float sum = 0;
    for (const float s : sums) sum += s;
    inverse[i] = 1 / sum;
  }
}

LOWRANK_VECTOR_VERSIONS(void, softmax_of, softmax,
                        (int64_t rows, int64_t keys, int64_t width, float* scores, float scale, at::BFloat16* p, float* highest,
                         float* inverse),
                        (rows, keys, width, scores, scale, p, highest, inverse))

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void write(int64_t rows, int64_t depth, const float* sums, int64_t sums_stride, const float* factors,
                                 at::BFloat16* to, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) {
    const float factor = factors ? factors[i] : 1.0F;
    __builtin_prefetch(to + i * stride + depth, /*write=*/1);
    for (int64_t c = 0; c < depth; ++c) to[i * stride + c] = rounded<at::BFloat16>(factor * sums[i * sums_stride + c]);
  }
}

LOWRANK_VECTOR_VERSIONS(void, written_rows, write,
                        (int64_t rows, int64_t depth, const float* sums, int64_t sums_stride, const float* factors, at::BFloat16* to,
                         int64_t stride),
                        (rows, depth, sums, sums_stride, factors, to, stride))

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void multiply_rows(int64_t rows, int64_t depth, const at::BFloat16* a, const at::BFloat16* b, int64_t stride,
                                         float* results) {
#pragma clang fp reassociate(on) contract(fast)
  for (int64_t i = 0; i < rows; ++i) {
    float sum = 0;
    for (int64_t c = 0; c < depth; ++c) sum += widened(a[i * stride + c]) * widened(b[i * stride + c]);
    results[i] = sum;
  }
}

LOWRANK_VECTOR_VERSIONS(void, multiplied_rows, multiply_rows,
                        (int64_t rows, int64_t depth, const at::BFloat16* a, const at::BFloat16* b, int64_t stride, float* results),
                        (rows, depth, a, b, stride, results))

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void differentiate(int64_t keys, int64_t width, const float* scores, float* dp, float scale, const float* highest,
                                         const float* inverse, const float* means, at::BFloat16* p, at::BFloat16* ds) {
#pragma clang fp contract(fast)
  for (int64_t j = 0; j < width; j += kLanes) {
    for (int64_t i = 0; i < keys; ++i) {
      const int64_t at = i * width + j;
      for (int64_t l = 0; l < kLanes; ++l) {
        const float value = exponential(scores[at + l] * scale - highest[j + l]) * inverse[j + l];
        const float gradient = value * (dp[at + l] - means[j + l]) * scale;
        p[at + l] = rounded<at::BFloat16>(value);
        ds[at + l] = rounded<at::BFloat16>(gradient);
        dp[at + l] = gradient;
      }
    }
  }
}

LOWRANK_VECTOR_VERSIONS(void, differentiated, differentiate,
                        (int64_t keys, int64_t width, const float* scores, float* dp, float scale, const float* highest,
                         const float* inverse, const float* means, at::BFloat16* p, at::BFloat16* ds),
                        (keys, width, scores, dp, scale, highest, inverse, means, p, ds))

}  // namespace

void gather_rows(int64_t rows, int64_t depth, const at::BFloat16* from, int64_t stride, at::BFloat16* to) {
  gathered(rows, depth, from, stride, to);
}

void pack_pairs(int64_t rows, int64_t columns, const at::BFloat16* from, at::BFloat16* packed) { paired_rows(rows, columns, from, packed); }

void pack_turned(int64_t rows, int64_t depth, const at::BFloat16* from, at::BFloat16* packed) { turned_pairs(rows, depth, from, packed); }

void softmax_rows(int64_t rows, int64_t keys, int64_t width, float* scores, float scale, at::BFloat16* p, float* highest, float* inverse) {
  softmax_of(rows, keys, width, scores, scale, p, highest, inverse);
}

void write_rows(int64_t rows, int64_t depth, const float* sums, int64_t sums_stride, const float* factors, at::BFloat16* to,
                int64_t stride) {
  written_rows(rows, depth, sums, sums_stride, factors, to, stride);
}

void row_products(int64_t rows, int64_t depth, const at::BFloat16* a, const at::BFloat16* b, int64_t stride, float* results) {
  multiplied_rows(rows, depth, a, b, stride, results);
}

void softmax_gradients(int64_t keys, int64_t width, const float* scores, float* dp, float scale, const float* highest, const float* inverse,
                       const float* means, at::BFloat16* p, at::BFloat16* ds) {
  differentiated(keys, width, scores, dp, scale, highest, inverse, means, p, ds);
}

}  // namespace lowrank::kernels
