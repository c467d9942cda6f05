// bfloat16 to float32 and back in plain arithmetic, which compilers turn into vector instructions of any width.
#pragma once

#include <bit>
#include <c10/util/BFloat16.h>
#include <cstdint>
#include <type_traits>

#include "lowrank/kernels/vector_versions.h"

namespace lowrank::kernels {

LOWRANK_ALWAYS_INLINE float widened(at::BFloat16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.x) << 16); }
LOWRANK_ALWAYS_INLINE float widened(float value) { return value; }
LOWRANK_ALWAYS_INLINE double widened(double value) { return value; }

/// To the nearest T, ties to even; NaN stays NaN.
template <class T, class Wide>
LOWRANK_ALWAYS_INLINE T rounded(Wide value) {
  if constexpr (std::is_same_v<T, at::BFloat16>) {
    const auto bits = std::bit_cast<uint32_t>(value);
    const uint32_t nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    return {static_cast<uint16_t>(value != value ? 0x7FC0 : nearest), at::BFloat16::from_bits()};
  } else {
    return static_cast<T>(value);
  }
}

}  // namespace lowrank::kernels
