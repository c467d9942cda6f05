// y = x·Wᵀ + b with W [O, I] frozen, b [O] optional.
#pragma once

#include "lowrank/nn/host.h"

namespace lowrank::nn {

class Linear : public Host {
 public:
  /// Uninitialised (zero) weight [out, in]; the loader fills it.
  Linear(int64_t in, int64_t out, bool with_bias = true);

  HostShape shape() const override;
  at::Tensor matrix() const override { return weight(); }
  at::Tensor multiply(const at::Tensor& x, const at::Tensor& m, const at::Tensor& bias) const override;
  at::Tensor project(const at::Tensor& x, const at::Tensor& m, int64_t blocks) const override;
  at::Tensor add_expanded(const at::Tensor& y0, const at::Tensor& h, const at::Tensor& m, double scale, int64_t blocks) const override;

 protected:
  at::Tensor weight_from_matrix(const at::Tensor& matrix) const override { return matrix; }
  std::optional<at::Tensor> fused(const at::Tensor& x, const LowRankForm& form, const at::Tensor& product) const override;
  std::optional<ProductAndProjection> multiply_and_project(const at::Tensor& x, const at::Tensor& A) const override;
};

}  // namespace lowrank::nn
