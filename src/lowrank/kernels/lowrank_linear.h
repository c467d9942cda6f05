// One frozen linear layer with one low-rank adapter, forward and backward, without the dense update.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// y = gain ⊙ (x·Wᵀ + scale·(x·Aᵀ)·Bᵀ) + bias
/// x [.., I], W [O, I] frozen, bias [O] or undefined, A [R, I], B [O, R], gain [O] or undefined (all ones); y [.., O].
/// A, B, gain may be float32 while x and W are narrower: products run in x's dtype, gradients come back in theirs.
/// Gradients: with d = gain ⊙ dy and h = x·Aᵀ: dx = d·W + scale·(d·B)·A; dA = scale·(d·B)ᵀ·x; dB = scale·dᵀ·h;
/// dgain = Σ_rows dy ⊙ (y − bias)/gain; dbias = Σ_rows dy.
at::Tensor lowrank_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& A,
                          const at::Tensor& B, double scale, const at::Tensor& gain);

}  // namespace lowrank::kernels
