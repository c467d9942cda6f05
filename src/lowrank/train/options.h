// What a user says about training; the defaults train something useful on an encoder.
#pragma once

#include <cstdint>
#include <string>

#include "lowrank/base/options.h"

namespace lowrank::train {

struct TrainOptions {
  double learning_rate = 0;  // 0: the method's own
  int64_t epochs = 3;
  int64_t max_steps = 0;  // 0: as the epochs say
  int64_t batch_size = 32;
  int64_t gradient_accumulation = 1;
  double warmup_fraction = 0.06;
  std::string schedule = "linear";
  double weight_decay = 0.01;
  double max_grad_norm = 1.0;
  double label_smoothing = 0;  // of single-label classification
  double ema = 0;              // decay of the average that is validated and saved; 0: the last values
  int64_t seed = 42;
  double validate_every = 1.0;  // epochs
  int64_t patience = 0;
  std::string best_by = "score";
  double save_every = 30;  // seconds
  std::string dtype = "auto", device = "auto";
  int64_t threads = 0;
};

/// Adds the groups "Training" and "Machine" to `table`, bound to `options`.
void declare(OptionTable& table, TrainOptions& options);

/// The options that decide the numbers: a resumed run must have the same. The others say where and how often to save.
Json numeric_options(const TrainOptions& options);

}  // namespace lowrank::train
