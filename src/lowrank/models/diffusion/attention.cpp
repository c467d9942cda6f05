#include "lowrank/models/diffusion/attention.h"

#include <ATen/ops/scaled_dot_product_attention.h>

#include "lowrank/kernels/attention.h"

namespace lowrank::models {

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads, bool causal) {
  if (!causal) return kernels::batch_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), q.size(0), heads).view(q.sizes());
  const auto split = [&](const at::Tensor& x) { return x.view({x.size(0), x.size(1), heads, -1}).transpose(1, 2); };
  return at::scaled_dot_product_attention(split(q), split(k), split(v), {}, 0.0, /*is_causal=*/true).transpose(1, 2).reshape(q.sizes());
}

Attention::Attention(int64_t width, int64_t states, int64_t heads, bool with_bias) : heads_(heads) {
  q_ = register_module("to_q", std::make_shared<nn::Linear>(width, width, with_bias));
  k_ = register_module("to_k", std::make_shared<nn::Linear>(states, width, with_bias));
  v_ = register_module("to_v", std::make_shared<nn::Linear>(states, width, with_bias));
  out_ = register_module("to_out", std::make_shared<Layers<nn::Linear>>());
  out_->add(width, width);
}

at::Tensor Attention::forward(const at::Tensor& x, const at::Tensor& states, const nn::RowKeys* keys) {
  const at::Tensor q = q_->forward(x, keys), k = k_->forward(states, keys);
  return (*out_)[0]->forward(attend(q, k, v_->forward(states, keys), heads_), keys);
}

}  // namespace lowrank::models
