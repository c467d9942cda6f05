// Multi-head attention over [B, T, C] under diffusers' names: to_q, to_k, to_v, to_out.0.
#pragma once

#include "lowrank/models/diffusion/layers.h"
#include "lowrank/nn/linear.h"

namespace lowrank::models {

/// softmax(Q_h·K_hᵀ/√d)·V_h for each picture and head; q [B, T, C], k and v [B, S, C], result [B, T, C]. With `causal` row t
/// sees rows 0 … t.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads, bool causal = false);

class Attention : public torch::nn::Module {
 public:
  /// `states` is the width of what keys and values are made from; the output projection always has a bias.
  Attention(int64_t width, int64_t states, int64_t heads, bool with_bias);
  at::Tensor forward(const at::Tensor& x, const at::Tensor& states, const nn::RowKeys* keys);

 private:
  int64_t heads_;
  std::shared_ptr<nn::Linear> q_, k_, v_;
  std::shared_ptr<Layers<nn::Linear>> out_;
};

}  // namespace lowrank::models
