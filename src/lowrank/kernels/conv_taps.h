// A k×k convolution with few output channels as one product for each pixel and a sum over the kernel's taps. General routines pad
// the few channels to whole blocks, and copy the wide weight's layout; a product with taps·R rows costs neither.
#pragma once

#include <ATen/core/Tensor.h>
#include <array>
#include <vector>

namespace lowrank::kernels {

/// The numbers of a two-dimensional convolution; groups are 1.
struct ConvGeometry {
  std::array<int64_t, 2> kernel{1, 1}, stride{1, 1}, padding{0, 0}, dilation{1, 1};

  int64_t taps() const { return kernel[0] * kernel[1]; }
  /// Sizes of the output for an input of such sizes.
  std::array<int64_t, 2> output(at::IntArrayRef input) const;
  /// True for a product of each pixel by itself: 1×1, no stride, no padding.
  bool is_pointwise() const;
};

/// The eight numbers in the order above, for what autograd keeps, and back.
std::vector<int64_t> numbers_of(const ConvGeometry& geometry);
ConvGeometry geometry_of(const std::vector<int64_t>& numbers);

/// M [R, n·taps] as kernels of n channels → [taps·R, n], and back.
at::Tensor by_taps(const at::Tensor& m, int64_t taps);
at::Tensor from_taps(const at::Tensor& m, int64_t taps);

/// h[r, y, x] = Σ_t p[t·R + r, y·stride_0 − padding_0 + t_0·dilation_0, …], p [N, taps·R, H, W] → [N, R, H', W'], p being 0 outside.
/// With p = by_taps(M)·x pixel by pixel that is the convolution of x with M. CPU, any floating dtype, contiguous; not differentiable. p is
/// scratch: what no output reads may be overwritten.
at::Tensor gather_taps(const at::Tensor& p, const ConvGeometry& geometry);

/// The same for pixels as rows, m blocks a pixel: p [N·H·W·m, ≥ taps·R] float32 → [N·H'·W'·m, columns ≥ R], zeros after R. `input`: H, W.
at::Tensor gather_tap_rows(const at::Tensor& p, const ConvGeometry& geometry, std::array<int64_t, 2> input, int64_t blocks, int64_t rank,
                           int64_t columns);
/// Its transpose: g [N·H'·W'·m, R] → [N·H·W·m, taps·R], float32 or bfloat16.
at::Tensor scatter_tap_rows(const at::Tensor& g, const ConvGeometry& geometry, std::array<int64_t, 2> input, int64_t blocks);

/// The transpose of gather_taps: g [N, R, H', W'] → [N, taps·R, H, W] for input sizes H and W.
at::Tensor scatter_taps(const at::Tensor& g, const ConvGeometry& geometry, std::array<int64_t, 2> input);

}  // namespace lowrank::kernels
