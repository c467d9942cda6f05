#include "lowrank/kernels/exponential.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "lowrank/kernels/vector_versions.h"

namespace lowrank::kernels {

namespace {

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

template <VectorUnit>
LOWRANK_ALWAYS_INLINE float exponentials_of(float* x, int64_t count, float scale, float shift) {
#pragma clang fp reassociate(on) contract(fast)
  float sum = 0;
  for (int64_t j = 0; j < count; ++j) {
    x[j] = exponential(x[j] * scale - shift);
    sum += x[j];
  }
  return sum;
}

template <VectorUnit>
LOWRANK_ALWAYS_INLINE float largest_of(const float* x, int64_t count) {
  constexpr int64_t kLanes = 16;
  float lanes[kLanes];
  for (float& lane : lanes) lane = x[0];
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    for (int64_t i = 0; i < kLanes; ++i) lanes[i] = x[j + i] > lanes[i] ? x[j + i] : lanes[i];
  }
  for (; j < count; ++j) lanes[0] = x[j] > lanes[0] ? x[j] : lanes[0];
  float most = lanes[0];
  for (const float lane : lanes) most = lane > most ? lane : most;
  return most;
}

LOWRANK_VECTOR_VERSIONS(float, float_exponentials, exponentials_of, (float* x, int64_t count, float scale, float shift),
                        (x, count, scale, shift))
LOWRANK_VECTOR_VERSIONS(float, float_largest, largest_of, (const float* x, int64_t count), (x, count))

}  // namespace

float exponentials(float* x, int64_t count, float scale, float shift) { return float_exponentials(x, count, scale, shift); }

double exponentials(double* x, int64_t count, double scale, double shift) {
  double sum = 0;
  for (int64_t j = 0; j < count; ++j) {
    x[j] = std::exp(x[j] * scale - shift);
    sum += x[j];
  }
  return sum;
}

float largest(const float* x, int64_t count) { return float_largest(x, count); }

double largest(const double* x, int64_t count) { return *std::max_element(x, x + count); }

}  // namespace lowrank::kernels
