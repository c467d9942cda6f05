// e^x over a row of numbers, in loops that become this machine's own vector instructions.
#pragma once

#include <bit>
#include <cstdint>

#include "lowrank/kernels/vector_versions.h"

namespace lowrank::kernels {

/// e^x to 2 units in the last place, for loops in a function with vector versions.
// x = n·ln 2 + r with |r| ≤ ln 2/2 and a polynomial for e^r (S. Moshier, Cephes expf); adding 1.5·2²³ rounds to the integer n.
LOWRANK_ALWAYS_INLINE float exponential(float x) {
  x = x < -87.0F ? -87.0F : x > 88.0F ? 88.0F : x;
  const float shifted = x * 1.44269504F + 12582912.0F, n = shifted - 12582912.0F;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float power = std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
  return (p * r * r + r + 1.0F) * power;
}

/// x[j] ← e^(scale·x[j] − shift) for the count of x; returns their sum. In float32 to 2 units in the last place (arguments
/// below −87 as −87, above 88 as 88), in float64 as the C library.
float exponentials(float* x, int64_t count, float scale, float shift);
double exponentials(double* x, int64_t count, double scale, double shift);

/// The largest of a row of at least one number.
float largest(const float* x, int64_t count);
double largest(const double* x, int64_t count);

}  // namespace lowrank::kernels
