// The plain twin of lowrank_conv2d.
#pragma once

#include "lowrank/kernels/conv_taps.h"
#include "lowrank/kernels/lowrank_update.h"

namespace lowrank::kernels {

/// lowrank_conv2d(x, weight, bias, geometry, …) by the library's differentiable operators: for devices without kernels here.
at::Tensor plain_lowrank_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& geometry,
                                const LowRankUpdate& update);

}  // namespace lowrank::kernels
