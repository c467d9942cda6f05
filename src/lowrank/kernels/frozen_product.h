// Products of many rows with a frozen weight, by the library.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// x·M + bias; x [N, K], M [K, C] (a view of the weight, either way round), bias [C] or undefined. In bfloat16 on the CPU the library
/// compiles a kernel for each number of rows that it meets, which takes as long as a short batch's products: rows are rounded up to
/// a multiple of 32 there.
at::Tensor frozen_product(const at::Tensor& x, const at::Tensor& matrix, const at::Tensor& bias = {});

}  // namespace lowrank::kernels
