// The smallest program on the installed package: one frozen layer, one DoRA adapter, and the check that merging the
// adapter changes nothing that the layer computes.
#include <ATen/Context.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>
#include <memory>

#include "lowrank/adapters/config.h"
#include "lowrank/nn/linear.h"

int main() {
  at::manual_seed(1);
  lowrank::nn::Linear layer(64, 32);
  layer.set_weight(at::randn({32, 64}));

  lowrank::adapters::AdapterConfig config = lowrank::adapters::make_config("dora");
  config.rank = 4;
  auto adapter = config.method->create(config.for_module("layer", layer.shape()), layer);
  layer.attach("default", adapter);
  const at::NoGradGuard no_grad;
  for (auto& parameter : adapter->parameters()) parameter.add_(0.1 * at::rand_like(parameter));

  const at::Tensor x = at::randn({8, 64}), live = layer.forward(x);
  layer.merge();
  const double difference = (layer.forward(x) - live).abs().max().item<double>();
  fmt::print("DoRA on a 32 x 64 layer: {} parameters, merged output differs by {:.1e}\n", 4 * (64 + 32) + 32, difference);
  return difference < 1e-4 ? 0 : 1;
}
