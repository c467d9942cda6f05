// A pipeline that no checkpoint holds yet.
#include <ATen/core/grad_mode.h>
#include <cmath>

#include "lowrank/models/diffusion/pipeline.h"
#include "lowrank/models/fresh.h"

namespace lowrank::models {

namespace {

/// Tables of embeddings as in transformers (CLIPConfig's initializer_range); layers as torch begins them, whose uniform numbers have
/// the variance 1/(3·inputs).
double deviation_of(const std::string& name, const at::Tensor& parameter) {
  if (name.ends_with("embedding.weight")) return 0.02;
  const auto inputs = static_cast<double>(parameter.numel() / parameter.size(0));
  return 1 / std::sqrt(3 * inputs);
}

void fill(torch::nn::Module& module, const std::string& component, uint64_t seed) {
  for (auto& parameter : module.named_parameters()) {
    initialise(component + "." + parameter.key(), parameter.value(), deviation_of(parameter.key(), parameter.value()), seed);
  }
}

}  // namespace

Pipeline fresh_pipeline(const Json& configs, const std::string& where, uint64_t seed) {
  const at::NoGradGuard no_grad;
  Pipeline pipeline = make_pipeline(configs, where, at::kFloat);
  fill(*pipeline.unet, "unet", seed);
  fill(*pipeline.vae, "vae", seed);
  fill(*pipeline.text_encoder, "text_encoder", seed);
  if (pipeline.is_xl()) fill(*pipeline.text_encoder_2, "text_encoder_2", seed);
  return pipeline;
}

}  // namespace lowrank::models
