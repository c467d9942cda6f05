// What the blocks of the image models share: lists of modules, and what a forward pass hands to every layer.
#pragma once

#include <ATen/core/Tensor.h>
#include <memory>
#include <string>
#include <torch/nn/module.h>
#include <utility>
#include <vector>

#include "lowrank/nn/packed.h"

namespace lowrank::models {

/// Modules "0", "1", … of one kind.
template <class Layer>
class Layers : public torch::nn::Module {
 public:
  template <class... Args>
  void add(Args&&... args) {
    layers_.push_back(register_module(std::to_string(layers_.size()), std::make_shared<Layer>(std::forward<Args>(args)...)));
  }
  const std::shared_ptr<Layer>& operator[](size_t i) const { return layers_[i]; }
  size_t size() const { return layers_.size(); }
  bool empty() const { return layers_.empty(); }
  auto begin() const { return layers_.begin(); }
  auto end() const { return layers_.end(); }

 private:
  std::vector<std::shared_ptr<Layer>> layers_;
};

/// What conditions a picture's way through a UNet. `keys`: one a picture while training with dropout, else null.
struct Conditions {
  at::Tensor time;    // silu of the time embedding [B, E]; undefined in an autoencoder
  at::Tensor states;  // text states [B, S, C]
  const nn::RowKeys* keys = nullptr;
};

}  // namespace lowrank::models
