#include "lowrank/train/adamw.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>

#include "lowrank/base/error.h"

namespace lowrank::train {

AdamW::AdamW(FlatParameters& parameters, AdamWOptions options)
    : parameters_(parameters), options_(options), m_(at::zeros_like(parameters.values())), v_(at::zeros_like(parameters.values())) {}

void AdamW::step(double learning_rate, double gradient_scale) {
  const at::NoGradGuard no_grad;
  ++steps_;
  const at::Tensor &values = parameters_.values(), &gradients = parameters_.gradients();
  const auto one_float = values.options();
  const std::vector<at::Tensor> count = {at::full({}, static_cast<double>(steps_), one_float)};
  std::optional<at::Tensor> divisor;  // the kernel divides gradients by it
  if (gradient_scale != 1.0) divisor = at::full({}, 1.0 / gradient_scale, one_float);
  for (const auto& [begin, end, rate, decays] : parameters_.segments()) {
    const auto part = [first = begin, last = end](const at::Tensor& flat) { return std::vector<at::Tensor>{flat.slice(0, first, last)}; };
    at::_fused_adamw_(part(values), part(gradients), part(m_), part(v_), {}, count, learning_rate * rate, options_.beta1, options_.beta2,
                      decays ? options_.weight_decay : 0.0, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false, divisor);
  }
  gradients.zero_();
  parameters_.publish();
}

void AdamW::restore(const at::Tensor& m, const at::Tensor& v, int64_t steps) {
  check(m.sizes() == m_.sizes() && v.sizes() == v_.sizes(), ErrorKind::internal, "optimiser", "expected {} numbers, got {} and {}",
        m_.numel(), m.numel(), v.numel());
  m_.copy_(m);
  v_.copy_(v);
  steps_ = steps;
}

double length(const at::Tensor& flat) { return at::linalg_vector_norm(flat).item<double>(); }

double clip_factor(double norm, double limit) { return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0; }

}  // namespace lowrank::train
