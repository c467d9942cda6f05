#include "lowrank/nn/new_weights.h"

#include <ATen/ops/full.h>

namespace lowrank::nn {

namespace {

thread_local NewWeights::Choice current;

}  // namespace

NewWeights::NewWeights(const c10::TensorOptions& options, NewWeightsAre use) : before_(current) { current = {options, use}; }

NewWeights::~NewWeights() { current = before_; }

at::Tensor new_weight(at::IntArrayRef shape, double value) {
  if (current.use == NewWeightsAre::replaced) return at::full({}, value, current.options).expand(shape);
  return at::full(shape, value, current.options);
}

}  // namespace lowrank::nn
