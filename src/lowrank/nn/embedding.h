// Row lookup: y = weight[id]. As a matrix W = weightᵀ, O = width, I = vocabulary, and the input is one-hot.
#pragma once

#include "lowrank/nn/host.h"

namespace lowrank::nn {

class Embedding : public Host {
 public:
  Embedding(int64_t vocabulary, int64_t width);

  HostShape shape() const override;
  at::Tensor matrix() const override { return weight().t(); }
  at::Tensor multiply(const at::Tensor& ids, const at::Tensor& m, const at::Tensor& bias) const override;
  at::Tensor project(const at::Tensor& ids, const at::Tensor& m, int64_t blocks) const override;
  at::Tensor add_expanded(const at::Tensor& y0, const at::Tensor& h, const at::Tensor& m, double scale, int64_t blocks) const override;

 protected:
  at::Tensor weight_from_matrix(const at::Tensor& matrix) const override { return matrix.t(); }
};

}  // namespace lowrank::nn
