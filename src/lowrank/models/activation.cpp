#include "lowrank/models/activation.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>
#include <fmt/ranges.h>
#include <map>
#include <ranges>

namespace lowrank::models {

namespace {

at::Tensor gelu(const at::Tensor& x) { return at::gelu(x, "none"); }
at::Tensor gelu_tanh(const at::Tensor& x) { return at::gelu(x, "tanh"); }
at::Tensor quick_gelu(const at::Tensor& x) { return x * at::sigmoid(1.702 * x); }
at::Tensor relu(const at::Tensor& x) { return at::relu(x); }
at::Tensor silu(const at::Tensor& x) { return at::silu(x); }
at::Tensor tanh(const at::Tensor& x) { return at::tanh(x); }

const std::map<std::string, Activation>& table() {
  static const std::map<std::string, Activation> activations{
      {"gelu", gelu}, {"gelu_python", gelu}, {"gelu_new", gelu_tanh}, {"gelu_pytorch_tanh", gelu_tanh}, {"relu", relu},
      {"silu", silu}, {"swish", silu},       {"tanh", tanh},          {"quick_gelu", quick_gelu},
  };
  return activations;
}

}  // namespace

Activation find_activation(const std::string& name) {
  const auto found = table().find(name);
  return found == table().end() ? nullptr : found->second;
}

std::string activation_names() { return fmt::format("{}", fmt::join(std::views::keys(table()), ", ")); }

}  // namespace lowrank::models
