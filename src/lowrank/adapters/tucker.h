// The Tucker form of a low-rank convolution: a 1×1 to R channels and a k×k among those, as one k×k kernel.
#pragma once

#include <ATen/ops/matmul.h>

namespace lowrank::adapters {

/// A[p, i, y, x] = Σ_q mid[p, q, y, x]·down[q, i] as a matrix [R, n·kh·kw]; mid [R, R, kh, kw], down [R, n]. It costs R²·n·kh·kw
/// products, no more than the convolution of R pixels.
inline at::Tensor tucker_product(const at::Tensor& mid, const at::Tensor& down) { return at::matmul(down.t(), mid.flatten(2)).flatten(1); }

}  // namespace lowrank::adapters
