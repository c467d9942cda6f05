#include "lowrank/nn/layer_norm.h"

#include <ATen/ops/layer_norm.h>

#include "lowrank/nn/new_weights.h"

namespace lowrank::nn {

LayerNorm::LayerNorm(int64_t width, double eps) : eps_(eps) {
  register_parameter("weight", new_weight({width}, 1), /*requires_grad=*/false);
  register_parameter("bias", new_weight({width}), /*requires_grad=*/false);
}

at::Tensor LayerNorm::forward(const at::Tensor& x) const {
  // Looked up, not cached: full fine-tuning and loading replace the parameters' storage.
  const at::Tensor &weight = parameters_["weight"], &bias = parameters_["bias"];
  return at::layer_norm(x, weight.sizes(), weight, bias, eps_);
}

}  // namespace lowrank::nn
