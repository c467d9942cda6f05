#include "lowrank/kernels/exponential.h"

#include <algorithm>
#include <cmath>

namespace lowrank::kernels {

namespace {

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
