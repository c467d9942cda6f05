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
  at::Tensor project(const at::Tensor& x, const at::Tensor& m, int64_t blocks) const override;
  at::Tensor add_expanded(const at::Tensor& y0, const at::Tensor& h, const at::Tensor& m, double scale, int64_t blocks) const override;
  at::Tensor scale_outputs(const at::Tensor& y, const at::Tensor& gain) const override;

 protected:
  at::Tensor base(const at::Tensor& x) const override;
  at::Tensor add_bias(const at::Tensor& y) const override;
  at::Tensor weight_from_matrix(const at::Tensor& matrix) const override { return matrix; }
  std::optional<at::Tensor> fused(const at::Tensor& x, const LowRankForm& form) const override;
};

}  // namespace lowrank::nn
