// ‖W‖² by rows, and ‖W + s·B·A‖² without B·A, which DoRA computes in every step.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// ‖W_j‖² [O] in float64, for a floating W [O, ..] of any dtype.
at::Tensor row_squares(const at::Tensor& weight);

/// ‖W_j + s·B_j·A‖² = ‖W_j‖² + 2s·⟨U_j, B_j⟩ + s²·B_j·A·Aᵀ·B_jᵀ [O] in float64, for U = W·Aᵀ [O, R], A [R, I], B [O, R] and squares
/// ‖W_j‖² [O] in float64. Where the terms cancel, the digits that U lacks are missing in the result.
at::Tensor adapted_row_squares(const at::Tensor& projected, const at::Tensor& A, const at::Tensor& B, double scale,
                               const at::Tensor& squares);

}  // namespace lowrank::kernels
