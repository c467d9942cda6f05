#include "lowrank/nn/new_weights.h"

namespace lowrank::nn {

namespace {

thread_local c10::TensorOptions current;

}  // namespace

NewWeights::NewWeights(const c10::TensorOptions& options) : before_(current) { current = options; }

NewWeights::~NewWeights() { current = before_; }

const c10::TensorOptions& new_weights() { return current; }

}  // namespace lowrank::nn
