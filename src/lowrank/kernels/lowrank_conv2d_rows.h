// lowrank_conv2d where a processor has a matrix unit: bfloat16, channels last, so that pixels are rows and all that an adapter adds
// is done by the kernels of a linear layer, with a sum over the taps between them.
#pragma once

#include "lowrank/kernels/conv_taps.h"
#include "lowrank/kernels/lowrank_update.h"

namespace lowrank::kernels {

/// Whether a convolution with this update (A [R, n·taps]) and input runs here.
bool has_rows_conv2d(const at::Tensor& x, const LowRankUpdate& update, const ConvGeometry& geometry);

/// lowrank_conv2d there; `frozen` as there. Saved for backward: x, R·m rank-space activations a pixel and, for the gain's gradient, y.
at::Tensor rows_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& geometry,
                       const LowRankUpdate& update, const at::Tensor& frozen = {});

}  // namespace lowrank::kernels
