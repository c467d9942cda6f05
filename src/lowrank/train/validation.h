// One look at the validation rows.
#pragma once

#include <string>

#include "lowrank/base/json.h"

namespace lowrank::train {

struct Validation {
  int64_t step = 0;
  double epoch = 0, loss = 0, score = 0;  // score: 0 for a job with a loss alone
  double train_loss = 0;                  // of the step before
  double seconds = 0;                     // of the run so far, this look excluded
  Json figures = Json::object();          // further numbers by name: "macro_f1", a standard error, the loss of a band
};

/// By "score": the higher score, or the lower loss of equal scores. By "loss": the lower loss.
bool is_better(const Validation& a, const Validation& b, const std::string& best_by);

}  // namespace lowrank::train
