// Products with one matrix shared by all blocks of the input or of the output: what a Kronecker factor needs, without the
// dense Kronecker product. Block index first, so that mixing blocks is one matrix product.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// x [.., m·n], M [K, n] → [m, .., K] with result[j] = x[.., j·n : (j+1)·n]·Mᵀ. An undefined M is the identity.
at::Tensor project_blocks(const at::Tensor& x, const at::Tensor& m, int64_t blocks);

/// y0 [.., l·k] + scale·h·Mᵀ block by block: h [l, .., R], M [k, R]. y0 is overwritten and returned. An undefined M
/// is the identity (R = k).
at::Tensor add_expanded_blocks(const at::Tensor& y0, const at::Tensor& h, const at::Tensor& m, double scale);

}  // namespace lowrank::kernels
