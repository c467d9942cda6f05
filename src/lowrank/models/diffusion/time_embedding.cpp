#include "lowrank/models/diffusion/time_embedding.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/silu.h>
#include <cmath>

namespace lowrank::models {

at::Tensor sinusoids(const at::Tensor& numbers, int64_t width, bool cosine_first, int64_t shift) {
  const int64_t half = width / 2;
  const at::Tensor exponents =
      -std::log(10000.0) * at::arange(half, numbers.options().dtype(at::kFloat)) / static_cast<double>(half - shift);
  const at::Tensor angles = numbers.to(at::kFloat).unsqueeze(1) * at::exp(exponents);
  return cosine_first ? at::cat({angles.cos(), angles.sin()}, 1) : at::cat({angles.sin(), angles.cos()}, 1);
}

TimestepEmbedding::TimestepEmbedding(int64_t in, int64_t width)
    : first_(register_module("linear_1", std::make_shared<nn::Linear>(in, width))),
      second_(register_module("linear_2", std::make_shared<nn::Linear>(width, width))) {}

at::Tensor TimestepEmbedding::forward(const at::Tensor& x, const nn::RowKeys* keys) {
  return second_->forward(at::silu(first_->forward(x, keys)), keys);
}

}  // namespace lowrank::models
