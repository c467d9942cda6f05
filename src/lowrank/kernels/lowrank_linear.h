// One frozen linear layer with one low-rank adapter, forward and backward.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// y = x·W'ᵀ + bias, W' = diag(gain)·(W + scale·(mix ⊗ (B·A)))
/// x [.., m·n], W [l·k, m·n] frozen, bias [l·k] or undefined, A [R, n], B [k, R]; gain [l·k] or undefined (all ones); mix [l, m]
/// or undefined (1, l = m = 1), of which a call has at most one; y [.., l·k].
/// A, B, gain and mix may be float32 while x and W are narrower: products run in x's dtype, gradients come back in theirs.
/// With few rows the update is applied to them in rank space. With many, where that reads and writes more numbers than W has
/// (N·(O + I) > 2·O·I, as RunLoRA, arXiv 2312.03415, chooses), W' is formed, in float32 or wider, used and dropped.
/// Gradients stay in rank space either way: with g = scale·(gain ⊙ dy)·B and h = x·Aᵀ by blocks, dA = (mixᵀ·g)ᵀ·x,
/// dB = scale·(gain ⊙ dy)ᵀ·(mix·h), dmix = Σ g·hᵀ, dgain = Σ_rows dy ⊙ (y − bias)/gain, dbias = Σ_rows dy, dx = dy·W'.
/// `frozen` is x·Wᵀ where it is there already (frozen_rows_and_projection), and may be overwritten.
at::Tensor lowrank_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& A, const at::Tensor& B,
                          double scale, const at::Tensor& gain, const at::Tensor& mix = {}, const at::Tensor& frozen = {});

}  // namespace lowrank::kernels
