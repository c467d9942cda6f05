// The golden base model's module tree, without its forward: adaptable layers under the checkpoint's names.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "lowrank/nn/embedding.h"
#include "lowrank/nn/layer_norm.h"
#include "lowrank/nn/linear.h"
#include "lowrank/tensor/load.h"

namespace lowrank::adapters::test {

inline const std::filesystem::path kGoldens = std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/peft";

struct Container : torch::nn::Module {};

inline void put(torch::nn::Module& root, const std::string& path, const std::shared_ptr<torch::nn::Module>& module) {
  torch::nn::Module* at = &root;
  size_t begin = 0;
  for (size_t dot = path.find('.'); dot != std::string::npos; begin = dot + 1, dot = path.find('.', begin)) {
    const std::string part = path.substr(begin, dot - begin);
    if (at->named_children().find(part) == nullptr) at->register_module(part, std::make_shared<Container>());
    at = at->named_children()[part].get();
  }
  at->register_module(path.substr(begin), module);
}

/// Every layer of tests/golden/peft/base with its values, in the checkpoint's name order.
inline std::shared_ptr<torch::nn::Module> tiny_bert() {
  const at::NoGradGuard no_grad;
  auto root = std::make_shared<Container>();
  const auto tensors = tensor::load_tensors(kGoldens / "base" / "model.safetensors");
  for (const auto& [name, value] : tensors) {
    if (!name.ends_with(".weight")) continue;
    const std::string path = name.substr(0, name.size() - 7);
    if (value.dim() == 1) {
      put(*root, path, std::make_shared<nn::LayerNorm>(value.size(0), 1e-12));
    } else if (path.ends_with("_embeddings")) {
      put(*root, path, std::make_shared<nn::Embedding>(value.size(0), value.size(1)));
    } else {
      put(*root, path, std::make_shared<nn::Linear>(value.size(1), value.size(0)));
    }
  }
  for (auto& parameter : root->named_parameters()) parameter.value().copy_(tensors.at(parameter.key()));
  return root;
}

}  // namespace lowrank::adapters::test
