// The small matrix that mixes the blocks of a row in rank space: LoKr's W1.
#pragma once

#include <cstdint>

namespace lowrank::kernels {

/// mixed[i] = M·h[i] for each row i: M [to, from] with element (l, m) at mix[l·row + m·column], h [rows, from, columns],
/// mixed [rows, to, columns]; columns is a multiple of kNarrowLanes. Single-threaded.
void mix_rows(int64_t rows, int64_t to, int64_t from, int64_t columns, const float* mix, int64_t row, int64_t column, const float* h,
              float* mixed);
void mix_rows(int64_t rows, int64_t to, int64_t from, int64_t columns, const double* mix, int64_t row, int64_t column, const double* h,
              double* mixed);

/// lanes[l, m, c mod kNarrowLanes] += Σ_i g[i, l, c]·h[i, m, c], whose sums over the last axis are the gradient of M: g [rows, to,
/// columns], h [rows, from, columns], lanes [to, from, kNarrowLanes].
void add_mix_gradient(int64_t rows, int64_t to, int64_t from, int64_t columns, const float* g, const float* h, float* lanes);
void add_mix_gradient(int64_t rows, int64_t to, int64_t from, int64_t columns, const double* g, const double* h, double* lanes);

}  // namespace lowrank::kernels
