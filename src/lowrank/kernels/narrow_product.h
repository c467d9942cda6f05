// Matrix products with few columns, the shape of everything that a low-rank adapter adds, and the core of the others. General
// routines copy the wide factor into panels first, which costs as much as multiplying it by so few columns.
#pragma once

#include <cstdint>

namespace lowrank::kernels {

/// Columns come in multiples of so many.
template <class T>
constexpr int64_t kNarrowLanes = 32 / sizeof(T);

template <class T>
constexpr int64_t padded_columns(int64_t columns) {
  return (columns + kNarrowLanes<T> - 1) / kNarrowLanes<T> * kNarrowLanes<T>;
}

/// Element (i, k) lies at data[i·row + k·depth]: either order of storage, and its transpose.
template <class T>
struct Strided {
  const T* data;
  int64_t row, depth;
};

/// Rows of adjacent numbers, `stride` apart; 0 for one row that stands for all.
template <class T>
struct Rows {
  T* data = nullptr;
  int64_t stride = 0;
};

/// C = S + P·Q; S may be C itself, and without data it is zero. P [rows, depth], Q [depth, columns], C and S [rows, columns];
/// columns is a multiple of kNarrowLanes. Single-threaded; each element is summed in the order of `depth`.
void narrow_product(int64_t rows, int64_t columns, int64_t depth, Strided<float> p, Rows<const float> q, Rows<float> c,
                    Rows<const float> start);
void narrow_product(int64_t rows, int64_t columns, int64_t depth, Strided<double> p, Rows<const double> q, Rows<double> c,
                    Rows<const double> start);

}  // namespace lowrank::kernels
