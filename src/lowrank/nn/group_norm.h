// y = (x − mean)/√(var + ε)·weight + bias, mean and variance over each picture's groups of channels (Wu & He, arXiv 1803.08494).
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

namespace lowrank::nn {

class GroupNorm : public torch::nn::Module {
 public:
  GroupNorm(int64_t groups, int64_t channels, double eps);
  /// x [B, channels, ..]; with `silu` that of the result.
  at::Tensor forward(const at::Tensor& x, bool silu = false) const;

 private:
  int64_t groups_;
  double eps_;
};

}  // namespace lowrank::nn
