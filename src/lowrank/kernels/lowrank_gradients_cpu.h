// One pass over a layer's input, output and output's gradient, on the CPU.
#pragma once

#include "lowrank/kernels/lowrank_gradients.h"

namespace lowrank::kernels {

/// lowrank_gradients for float32 or float64 on the CPU; at least one row.
LowRankGradients cpu_lowrank_gradients(const LowRankUpdate& update, const GradientRequest& request);

}  // namespace lowrank::kernels
