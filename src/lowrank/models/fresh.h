// How parameters begin that no checkpoint holds.
#pragma once

#include <ATen/core/Tensor.h>
#include <string>

namespace lowrank::models {

/// Fills a parameter of two or more dimensions with normal(0, deviation) from (seed, "init:<name>"); others (norms, biases) stay as
/// their module made them.
void initialise(const std::string& name, at::Tensor& parameter, double deviation, uint64_t seed);

}  // namespace lowrank::models
