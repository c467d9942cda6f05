// One frozen convolution with one low-rank adapter, forward and backward.
#pragma once

#include "lowrank/kernels/conv_taps.h"

namespace lowrank::kernels {

/// y = x ∗ W' + bias, W' = diag(gain)·(W + scale·(mix ⊗ (B·A))) as matrices [O, I·kh·kw]
/// x [N, m·n, H, W], weight [l·k, m·n, kh, kw] frozen, bias [l·k] or undefined, A [R, n·kh·kw], B [k, R]; gain [l·k] or undefined (all
/// ones); mix [l, m] or undefined (1, l = m = 1), of which a call has at most one; y [N, l·k, H', W'].
/// A, B, gain and mix may be float32 while x and weight are narrower: products run in x's dtype, gradients come back in theirs.
/// A's convolution is a product for each pixel and a sum over taps (conv_taps.h), by blocks of n channels; its gradients are the same two
/// the other way round. `frozen` is x ∗ W where it is there already (unit_conv2d_and_projection), and may be overwritten. Saved for
/// backward: x, R·(m + l) maps of rank-space activations and, for the gain's gradient, y. All this on the CPU; elsewhere by operators
/// (plain_conv2d.h).
at::Tensor lowrank_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& geometry,
                          const at::Tensor& A, const at::Tensor& B, double scale, const at::Tensor& gain, const at::Tensor& mix = {},
                          const at::Tensor& frozen = {});

}  // namespace lowrank::kernels
