#include "lowrank/kernels/narrow_product.h"

#include "lowrank/kernels/vector_versions.h"

namespace lowrank::kernels {

namespace {

/// Numbers of T in `Bytes` bytes.
template <class T, int Bytes>
using Vector = T __attribute__((vector_size(Bytes)));

/// A tile of C in registers: Height × Vectors vectors, with room left for a row of Q and a number of P.
template <int Height, int Vectors, int Bytes>
struct Tile {
  static constexpr int rows = Height;
  template <class T>
  static constexpr int64_t columns = int64_t{Vectors} * Bytes / sizeof(T);

  template <class T>
  LOWRANK_ALWAYS_INLINE static void run(int64_t depth, Strided<T> p, Rows<const T> q, Rows<T> c, Rows<const T> start) {
    constexpr int64_t kLanes = Bytes / sizeof(T);
    Vector<T, Bytes> sums[Height][Vectors] = {};
    if (start.data) {
      for (int i = 0; i < Height; ++i) __builtin_memcpy(sums[i], start.data + i * start.stride, sizeof sums[i]);
    }
    for (int64_t k = 0; k < depth; ++k) {
      Vector<T, Bytes> right[Vectors];
      for (int v = 0; v < Vectors; ++v) __builtin_memcpy(&right[v], q.data + k * q.stride + v * kLanes, Bytes);
      for (int i = 0; i < Height; ++i) {
        const T left = p.data[i * p.row + k * p.depth];
        for (int v = 0; v < Vectors; ++v) sums[i][v] += left * right[v];
      }
    }
    for (int i = 0; i < Height; ++i) __builtin_memcpy(c.data + i * c.stride, sums[i], sizeof sums[i]);
  }
};

/// One tile's columns of C, over all its rows.
template <template <int> class TileOf, class T>
LOWRANK_ALWAYS_INLINE void stripe(int64_t rows, int64_t depth, Strided<T> p, Rows<const T> q, Rows<T> c, Rows<const T> start) {
  constexpr int kRows = TileOf<0>::rows;
  int64_t i = 0;
  const auto run = [&]<int Height>() __attribute__((always_inline)) {
    TileOf<Height>::run(depth, Strided<T>{p.data + i * p.row, p.row, p.depth}, q, Rows<T>{c.data + i * c.stride, c.stride},
                        Rows<const T>{start.data ? start.data + i * start.stride : nullptr, start.stride});
    i += Height;
  };
  while (i + kRows <= rows) run.template operator()<kRows>();
  while (i + 2 <= rows) run.template operator()<2>();
  if (i < rows) run.template operator()<1>();
}

// 16 registers of 32 bytes hold 6×2 sums, 32 registers of 64 bytes 12×1 of the same columns. <0> stands for the tallest.
template <int Height>
using Half = Tile<Height == 0 ? 6 : Height, 1, 32>;
template <int Height>
using Wide = Tile<Height == 0 ? 6 : Height, 2, 32>;
template <int Height>
using Wide512 = Tile<Height == 0 ? 12 : Height, 1, 64>;

template <VectorUnit Unit, class T>
LOWRANK_ALWAYS_INLINE void product(int64_t rows, int64_t columns, int64_t depth, Strided<T> p, Rows<const T> q, Rows<T> c,
                                   Rows<const T> start) {
  const auto from = [](auto matrix, int64_t column) {
    if (matrix.data) matrix.data += column;
    return matrix;
  };
  int64_t j = 0;
  for (; j + Wide<0>::columns<T> <= columns; j += Wide<0>::columns<T>) {
    if constexpr (Unit == VectorUnit::avx512)
      stripe<Wide512>(rows, depth, p, from(q, j), from(c, j), from(start, j));
    else
      stripe<Wide>(rows, depth, p, from(q, j), from(c, j), from(start, j));
  }
  for (; j < columns; j += kNarrowLanes<T>) stripe<Half>(rows, depth, p, from(q, j), from(c, j), from(start, j));
}

LOWRANK_VECTOR_VERSIONS(void, float_product, product,
                        (int64_t rows, int64_t columns, int64_t depth, Strided<float> p, Rows<const float> q, Rows<float> c,
                         Rows<const float> start),
                        (rows, columns, depth, p, q, c, start))
LOWRANK_VECTOR_VERSIONS(void, double_product, product,
                        (int64_t rows, int64_t columns, int64_t depth, Strided<double> p, Rows<const double> q, Rows<double> c,
                         Rows<const double> start),
                        (rows, columns, depth, p, q, c, start))

}  // namespace

void narrow_product(int64_t rows, int64_t columns, int64_t depth, Strided<float> p, Rows<const float> q, Rows<float> c,
                    Rows<const float> start) {
  float_product(rows, columns, depth, p, q, c, start);
}

void narrow_product(int64_t rows, int64_t columns, int64_t depth, Strided<double> p, Rows<const double> q, Rows<double> c,
                    Rows<const double> start) {
  double_product(rows, columns, depth, p, q, c, start);
}

}  // namespace lowrank::kernels
