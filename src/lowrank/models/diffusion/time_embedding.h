// The embedding of a diffusion time: sinusoids, then two linear layers.
#pragma once

#include "lowrank/models/diffusion/layers.h"
#include "lowrank/nn/linear.h"

namespace lowrank::models {

/// [N] numbers → [N, width] float32, sin and cos of t·10000^(−i/(width/2 − shift)), i < width/2 (Ho et al., arXiv 2006.11239).
at::Tensor sinusoids(const at::Tensor& numbers, int64_t width, bool cosine_first, int64_t shift);

/// linear_2(silu(linear_1(x)))
class TimestepEmbedding : public torch::nn::Module {
 public:
  TimestepEmbedding(int64_t in, int64_t width);
  at::Tensor forward(const at::Tensor& x, const nn::RowKeys* keys);

 private:
  std::shared_ptr<nn::Linear> first_, second_;
};

}  // namespace lowrank::models
