// y = (x − mean) / √(variance + eps) · weight + bias over the last dimension. Frozen, and no host.
#pragma once

#include <torch/nn/module.h>

namespace lowrank::nn {

class LayerNorm : public torch::nn::Module {
 public:
  LayerNorm(int64_t width, double eps);
  /// x [.., D] → [.., D]
  at::Tensor forward(const at::Tensor& x) const;

 private:
  double eps_;
};

}  // namespace lowrank::nn
