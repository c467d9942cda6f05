// The activation functions that config.json may name, as transformers' ACT2FN defines them.
#pragma once

#include <ATen/core/Tensor.h>
#include <string>

namespace lowrank::models {

using Activation = at::Tensor (*)(const at::Tensor&);

/// gelu and gelu_python (x·Φ(x)), gelu_new and gelu_pytorch_tanh (its tanh form), quick_gelu (x·σ(1.702·x)), relu, silu and swish, tanh.
/// Null for any other name.
Activation find_activation(const std::string& name);

/// The names that find_activation knows, for messages.
std::string activation_names();

}  // namespace lowrank::models
