// Tensors filled from RandomStream: drawn on the CPU in float64, then cast and moved, so that equal seeds give equal
// values on every device.
#pragma once

#include <ATen/core/Tensor.h>

#include "lowrank/base/random.h"

namespace lowrank::tensor {

/// Uniform in [low, high), row-major order.
void fill_uniform_(at::Tensor& target, double low, double high, RandomStream stream);
/// Normal with the given mean and standard deviation.
void fill_normal_(at::Tensor& target, double mean, double deviation, RandomStream stream);
/// torch's kaiming_uniform_(a=√5): uniform in ±1/√fan_in, fan_in = the product of all dimensions but the first.
void fill_kaiming_(at::Tensor& target, RandomStream stream);

}  // namespace lowrank::tensor
