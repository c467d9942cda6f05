#include "lowrank/nn/embedding.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>

#include "lowrank/base/error.h"
#include "lowrank/nn/new_weights.h"

namespace lowrank::nn {

Embedding::Embedding(int64_t vocabulary, int64_t width) { own(new_weight({vocabulary, width}), at::Tensor()); }

HostShape Embedding::shape() const { return {.kind = "embedding", .out = weight().size(1), .in = weight().size(0), .one_hot_input = true}; }

at::Tensor Embedding::multiply(const at::Tensor& ids, const at::Tensor& m, const at::Tensor& /*bias*/) const {
  return at::embedding(m.t(), ids);
}

at::Tensor Embedding::project(const at::Tensor& ids, const at::Tensor& m, int64_t blocks) const {
  check(blocks == 0, ErrorKind::unsupported, "embedding", "an embedding has no input blocks, asked for {}", blocks);
  return m.index_select(1, ids.flatten()).t().reshape([&] {
    auto shape = ids.sizes().vec();
    shape.push_back(m.size(0));
    return shape;
  }());
}

at::Tensor Embedding::add_expanded(const at::Tensor& y0, const at::Tensor& h, const at::Tensor& m, double scale, int64_t blocks) const {
  check(blocks == 0, ErrorKind::unsupported, "embedding", "an embedding has no output blocks, asked for {}", blocks);
  return y0 + scale * at::linear(h, m).to(y0.scalar_type());
}

}  // namespace lowrank::nn
