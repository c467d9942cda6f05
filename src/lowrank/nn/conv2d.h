// y = x ∗ W + b over pictures [N, C, height, width]; W [O, C/groups, kh, kw] frozen, b [O] optional. As a matrix W is
// [O, C/groups·kh·kw], so ΔW of every method is that of PEFT and LyCORIS: B·A with A a kh×kw convolution and B a 1×1 one.
#pragma once

#include "lowrank/kernels/conv_taps.h"
#include "lowrank/nn/host.h"

namespace lowrank::nn {

struct Conv2dOptions {
  int64_t in = 0, out = 0;
  std::array<int64_t, 2> kernel{1, 1}, stride{1, 1}, padding{0, 0}, dilation{1, 1};
  int64_t groups = 1;
  bool with_bias = true;
};

class Conv2d : public Host {
 public:
  /// Uninitialised (zero) weight; the loader fills it. Throws Error{invalid_argument} when groups do not divide in and out.
  explicit Conv2d(const Conv2dOptions& options);

  HostShape shape() const override;
  at::Tensor matrix() const override { return weight().flatten(1); }
  at::Tensor multiply(const at::Tensor& x, const at::Tensor& m, const at::Tensor& bias) const override;
  at::Tensor base(const at::Tensor& x, const at::Tensor& bias) const override;
  /// Channels last where a matrix unit serves them; matrix() is then a copy.
  at::MemoryFormat layout(at::ScalarType dtype) const override;
  /// Convolution with M [K, C/groups·kh·kw], the same for every group: [N, groups·K, ..]. With blocks = m (groups = 1) M [K, n·kh·kw]
  /// is a convolution of n = C/m channels, and never undefined: [m, N, K, ..].
  at::Tensor project(const at::Tensor& x, const at::Tensor& m, int64_t blocks) const override;
  at::Tensor add_expanded(const at::Tensor& y0, const at::Tensor& h, const at::Tensor& m, double scale, int64_t blocks) const override;
  at::Tensor scale_outputs(const at::Tensor& y, const at::Tensor& gain) const override;

  const Conv2dOptions& options() const { return options_; }

 protected:
  at::Tensor add_bias(const at::Tensor& y) const override { return y + bias().view({-1, 1, 1}); }
  at::Tensor weight_from_matrix(const at::Tensor& matrix) const override { return matrix.view(weight().sizes()); }
  std::optional<at::Tensor> fused(const at::Tensor& x, const LowRankForm& form, const at::Tensor& product) const override;
  at::Tensor projected_weight(const at::Tensor& m) const override;
  std::optional<ProductAndProjection> multiply_and_project(const at::Tensor& x, const at::Tensor& A) const override;

 private:
  /// x with the rows of `matrix` as kernels.
  at::Tensor convolve(const at::Tensor& x, const at::Tensor& matrix, int64_t groups, const at::Tensor& bias = {}) const;

  Conv2dOptions options_;
  kernels::ConvGeometry geometry_;
};

}  // namespace lowrank::nn
