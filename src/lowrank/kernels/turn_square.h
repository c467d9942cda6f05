// A square of 16 × 16 numbers of four bytes, turned in registers.
#pragma once

#include <cstdint>
#include <utility>

#include "lowrank/kernels/vector_versions.h"

namespace lowrank::kernels {

constexpr int kSquareSide = 16;
using SquareRow = float __attribute__((vector_size(kSquareSide * sizeof(float))));

/// Changes places of the blocks of `Step` numbers that lie across the diagonal, in each pair of rows `Step` apart.
template <int Step, size_t... Column>
LOWRANK_ALWAYS_INLINE void exchange_blocks(SquareRow (&rows)[kSquareSide], std::index_sequence<Column...>) {
  for (int i = 0; i < kSquareSide; ++i) {
    if (i & Step) continue;
    const SquareRow a = rows[i], b = rows[i + Step];
    rows[i] = __builtin_shufflevector(a, b, (Column & Step ? kSquareSide + static_cast<int>(Column) - Step : static_cast<int>(Column))...);
    rows[i + Step] =
        __builtin_shufflevector(a, b, (Column & Step ? kSquareSide + static_cast<int>(Column) : static_cast<int>(Column) + Step)...);
  }
}

LOWRANK_ALWAYS_INLINE void turn_square(SquareRow (&rows)[kSquareSide]) {
  constexpr auto kColumns = std::make_index_sequence<kSquareSide>();
  exchange_blocks<8>(rows, kColumns);
  exchange_blocks<4>(rows, kColumns);
  exchange_blocks<2>(rows, kColumns);
  exchange_blocks<1>(rows, kColumns);
}

}  // namespace lowrank::kernels
