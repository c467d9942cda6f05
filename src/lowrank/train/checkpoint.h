// Everything a stopped run needs to go on as if it had never stopped, in one safetensors file that is replaced atomically:
// parameters, both moments, the best parameters so far, and as metadata the place in the data, the validations, and what
// the run was asked to do. All randomness is a function of (seed, step, sample), so there is no generator to save.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <vector>

#include "lowrank/base/json.h"
#include "lowrank/train/validation.h"

namespace lowrank::train {

struct TrainState {
  int64_t step = 0;    // optimiser steps done; the next batch and learning rate follow from it
  int64_t units = 0;   // trained on so far (Job::unit)
  double seconds = 0;  // spent so far, over all sessions
  double loss = 0;     // of the last step
  std::vector<Validation> validations;
  int64_t best = -1;        // index of the best validation
  at::Tensor values, m, v;  // [P]
  at::Tensor best_values;   // [P]; undefined before the first validation
  at::Tensor average;       // [P], of the values over steps; undefined without TrainOptions::ema
};

/// `identity`: a flat object of all that decides the numbers (options, adapter, data and model fingerprints, layout).
void save_checkpoint(const std::filesystem::path& path, const TrainState& state, const Json& identity);

/// Throws Error{invalid_argument} naming every member in which the run that wrote the file differs from `identity`, and
/// Error{file_format} for a file that is no checkpoint.
TrainState load_checkpoint(const std::filesystem::path& path, const Json& identity);

}  // namespace lowrank::train
