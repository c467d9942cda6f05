#include "lowrank/tensor/random.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <cmath>

namespace lowrank::tensor {

namespace {

template <class Draw>
void fill_(at::Tensor& target, Draw&& draw) {
  const at::NoGradGuard no_grad;
  at::Tensor values = at::empty(target.sizes(), at::kDouble);
  double* out = values.mutable_data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) out[i] = draw();
  target.copy_(values);
}

}  // namespace

void fill_uniform_(at::Tensor& target, double low, double high, RandomStream stream) {
  fill_(target, [&] { return low + (high - low) * stream.uniform(); });
}

void fill_normal_(at::Tensor& target, double mean, double deviation, RandomStream stream) {
  fill_(target, [&] { return mean + deviation * stream.normal(); });
}

void fill_kaiming_(at::Tensor& target, RandomStream stream) {
  const double fan_in = static_cast<double>(target.numel()) / static_cast<double>(target.size(0));
  const double bound = 1.0 / std::sqrt(fan_in);
  fill_uniform_(target, -bound, bound, stream);
}

}  // namespace lowrank::tensor
