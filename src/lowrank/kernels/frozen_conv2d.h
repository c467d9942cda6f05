// Convolutions, and with them products of pixels or rows, with a frozen weight in bfloat16 on a processor's matrix unit. General
// routines bring the weight into their own layout in every call, which for few pixels costs more than the products.
#pragma once

#include <ATen/core/Tensor.h>

#include "lowrank/kernels/conv_taps.h"
#include "lowrank/kernels/rank_projection.h"

namespace lowrank::kernels {

/// Whether this machine has a unit for weights of that dtype, if they are laid out as below.
bool wants_channels_last(at::ScalarType dtype);

/// The weight [O, I, kh, kw] as the functions below read it: channels last, [O, taps, I]. Values and shape stay.
at::Tensor laid_out(const at::Tensor& weight);

/// Whether they can be given these: bfloat16 on the CPU with a matrix unit, a weight laid out as above, steps of 1, no dilation, channels
/// in multiples of 32.
bool has_unit_conv2d(const at::Tensor& x, const at::Tensor& weight, const ConvGeometry& geometry);

/// x ∗ W + bias, x [N, I, H, W] in any layout, bias [O] or undefined → [N, O, H', W'], channels last. Sums in float32, rounded once.
/// Not differentiable.
at::Tensor unit_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& geometry);

/// The same without a bias, and W·Aᵀ [O, R] as wide_projection() gives it for A [R, I·taps] float32, while W is at hand for the other.
ProductAndProjection unit_conv2d_and_projection(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& A,
                                                const ConvGeometry& geometry);

/// The same for rows: x [N, I] and W [O, I] → [N, O]; and dy [N, O] → [N, I].
at::Tensor unit_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
at::Tensor unit_rows_input_gradient(const at::Tensor& dy, const at::Tensor& weight);

/// Its transpose: dy [N, O, H', W'] → [N, I, H, W], channels last.
at::Tensor unit_conv2d_input_gradient(const at::Tensor& dy, const at::Tensor& weight, const ConvGeometry& geometry,
                                      std::array<int64_t, 2> input);

/// dx of x ∗ W by whatever serves best; of x the sizes count, and the layout where the library serves. Not differentiable.
at::Tensor frozen_conv2d_input_gradient(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight, const ConvGeometry& geometry);

/// x ∗ W + bias by whatever serves best, with gradients for x and bias; the weight has none. Layouts as the library's where that serves.
at::Tensor frozen_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& geometry);

}  // namespace lowrank::kernels
