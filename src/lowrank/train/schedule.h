// The learning rate over time, as transformers' get_{constant,linear,cosine}_schedule_with_warmup (optimization.py).
#pragma once

#include <cstdint>
#include <string_view>

namespace lowrank::train {

struct Schedule {
  std::string_view kind = "linear";  // constant, linear, cosine
  int64_t warmup = 0, total = 0;     // optimiser steps

  /// Factor of the peak rate at 0-based `step`, with w = warmup, T = total and p = (step − w)/max(1, T − w):
  /// step/w while step < w, then 1 (constant), max(0, 1 − p) (linear) or max(0, (1 + cos πp)/2) (cosine).
  double factor(int64_t step) const;
};

/// ceil(fraction · total), as transformers' TrainingArguments.get_warmup_steps.
int64_t warmup_steps(double fraction, int64_t total);

}  // namespace lowrank::train
