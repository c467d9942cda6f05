#include "lowrank/models/fresh.h"

#include <ATen/core/grad_mode.h>

#include "lowrank/models/family.h"
#include "lowrank/tensor/random.h"

namespace lowrank::models {

void initialise(const std::string& name, at::Tensor& parameter, double deviation, uint64_t seed) {
  if (parameter.dim() < 2) return;
  tensor::fill_normal_(parameter, 0.0, deviation, RandomStream(seed, "init:" + name));
}

std::unique_ptr<Model> make_fresh(const Json& config, const HeadOptions& head) {
  const at::NoGradGuard no_grad;
  const std::string where = "config.json";
  auto model = family_of(config, where).make(config, where, head, /*stored_pooler=*/false);
  model->config_ = config;
  model->new_modules_ = model->may_be_new_;
  const auto deviation = json_get<double>(config, "initializer_range", 0.02, where);
  for (auto& parameter : model->named_parameters()) {
    initialise(parameter.key(), parameter.value(), deviation, head.seed);
    parameter.value().set_requires_grad(model->is_new(parameter.key()));
  }
  return model;
}

}  // namespace lowrank::models
