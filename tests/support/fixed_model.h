// A model's weights by formula, as tools/golden/diffusion_models.py fills its own.
#pragma once

#include <ATen/core/grad_mode.h>
#include <cmath>
#include <map>
#include <string>
#include <torch/nn/module.h>

#include "support/fixed_init.h"

namespace lowrank::test {

/// Parameter number i in the order of their names is fixed(shape, i) times 0.2 (vectors) or 1.7/√columns, plus 1 for a norm's weight.
inline void fill_fixed(torch::nn::Module& model) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> named;
  for (const auto& parameter : model.named_parameters()) named.emplace(parameter.key(), parameter.value());
  uint32_t salt = 0;
  for (auto& [name, parameter] : named) {
    const bool is_norm = name.find("norm") != std::string::npos && name.ends_with("weight");
    const double columns = static_cast<double>(parameter.numel()) / static_cast<double>(parameter.size(0));
    const double scale = parameter.dim() == 1 ? 0.2 : 1.7 / std::sqrt(columns);
    parameter.copy_(fixed(parameter.sizes(), salt++, scale) + (is_norm ? 1.0 : 0.0));
  }
}

}  // namespace lowrank::test
