#include "lowrank/nn/group_norm.h"

#include "lowrank/kernels/group_norm.h"
#include "lowrank/nn/new_weights.h"

namespace lowrank::nn {

GroupNorm::GroupNorm(int64_t groups, int64_t channels, double eps) : groups_(groups), eps_(eps) {
  register_parameter("weight", new_weight({channels}, 1), /*requires_grad=*/false);
  register_parameter("bias", new_weight({channels}), /*requires_grad=*/false);
}

at::Tensor GroupNorm::forward(const at::Tensor& x, bool silu) const {
  // Looked up, not cached: full fine-tuning and loading replace the parameters' storage.
  return kernels::group_norm(x, groups_, parameters_["weight"], parameters_["bias"], eps_, silu);
}

}  // namespace lowrank::nn
