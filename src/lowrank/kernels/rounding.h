// Rounding to a narrower dtype in a form that loops over it become vector instructions of.
#pragma once

#include <bit>
#include <c10/util/BFloat16.h>
#include <type_traits>

#include "lowrank/kernels/vector_versions.h"

namespace lowrank::kernels {

/// To the nearest T, ties to even; NaN stays NaN.
template <class T, class Wide>
LOWRANK_ALWAYS_INLINE T rounded(Wide value) {
  if constexpr (std::is_same_v<T, c10::BFloat16>) {
    const auto bits = std::bit_cast<uint32_t>(value);
    const uint32_t nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    return {static_cast<uint16_t>(value != value ? 0x7FC0 : nearest), c10::BFloat16::from_bits()};
  } else {
    return static_cast<T>(value);
  }
}

}  // namespace lowrank::kernels
