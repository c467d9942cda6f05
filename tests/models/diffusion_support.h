// Tiny image models with weights by formula, and the goldens of tools/golden/diffusion_models.py.
#pragma once

#include <algorithm>
#include <filesystem>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include "support/fixed_model.h"

#include "lowrank/base/json.h"
#include "lowrank/tensor/load.h"

namespace lowrank::models {

namespace fs = std::filesystem;

inline fs::path diffusion_golden(const std::string& name) { return fs::path(LOWRANK_SOURCE_DIR) / "tests/golden/diffusion" / name; }

/// Weights by formula; all require gradients.
inline void fill_fixed(torch::nn::Module& model) {
  test::fill_fixed(model);
  for (auto& parameter : model.parameters()) parameter.set_requires_grad(true);
}

/// Σ outputs·fixed, as in the golden script.
inline at::Tensor fixed_loss(const std::vector<at::Tensor>& outputs) {
  at::Tensor loss;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const at::Tensor term = (outputs[i] * test::fixed(outputs[i].sizes(), 900 + static_cast<uint32_t>(i)).to(outputs[i].options())).sum();
    loss = loss.defined() ? loss + term : term;
  }
  return loss;
}

/// max|actual − expected| / max|expected|
inline double difference(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const double scale = expected.abs().max().item<double>();
  return (actual.detach().to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>() / std::max(scale, 1e-30);
}

/// The worst difference of the gradients' norms and samples (each over the norm); every parameter has a golden and the other way round.
/// A key projection's bias has gradient 0 but for rounding (softmax ignores what all keys share): compared over its weight's.
inline double worst_gradient(const torch::nn::Module& model, const tensor::TensorMap& expected) {
  constexpr int64_t kSamples = 8;
  double worst = 0;
  size_t compared = 0;
  for (const auto& parameter : model.named_parameters()) {
    const std::string& name = parameter.key();
    const auto found = expected.find("grad." + name);
    if (found == expected.end() || !parameter.value().grad().defined()) {
      ADD_FAILURE() << name << " has no gradient, or none is expected";
      continue;
    }
    ++compared;
    const at::Tensor flat = parameter.value().grad().flatten();
    std::vector<at::Tensor> got{flat.norm()};
    for (int64_t i = 0; i < kSamples; ++i) got.push_back(flat[i * flat.numel() / kSamples]);
    const bool noise = name.ends_with("k_proj.bias") || name.ends_with("to_k.bias");
    const std::string scale = noise ? name.substr(0, name.size() - 4) + "weight" : name;
    const double error = (at::stack(got) - found->second).abs().max().item<double>() / expected.at("grad." + scale)[0].item<double>();
    EXPECT_LT(error, 1e-4) << name;
    worst = std::max(worst, error);
  }
  EXPECT_EQ(compared, std::ranges::count_if(expected, [](const auto& e) { return e.first.starts_with("grad."); }));
  return worst;
}

}  // namespace lowrank::models
