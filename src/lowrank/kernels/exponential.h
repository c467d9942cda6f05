// e^x over a row of numbers, in loops that become this machine's own vector instructions.
#pragma once

#include <cstdint>

namespace lowrank::kernels {

/// x[j] ← e^(scale·x[j] − shift) for the count of x; returns their sum. In float32 to 2 units in the last place (arguments
/// below −87 as −87, above 88 as 88), in float64 as the C library.
float exponentials(float* x, int64_t count, float scale, float shift);
double exponentials(double* x, int64_t count, double scale, double shift);

/// The largest of a row of at least one number.
float largest(const float* x, int64_t count);
double largest(const double* x, int64_t count);

}  // namespace lowrank::kernels
