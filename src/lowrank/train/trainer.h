// Trains one model on one split. The step is Run::step() in trainer.cpp: batch, forward, backward, check finite, step, report.
#pragma once

#include "lowrank/train/checkpoint.h"
#include "lowrank/train/memory_plan.h"
#include "lowrank/train/request.h"
#include "lowrank/train/trainee.h"

namespace lowrank::train {

enum class Outcome { finished, early_stopped, cancelled };
/// The enumerator's own name.
std::string_view to_string(Outcome outcome);

struct TrainResult {
  Outcome outcome = Outcome::finished;
  Trainee trainee;         // with the best parameters, ready for evaluation
  std::string score_name;  // "accuracy"; empty without validation rows
  std::vector<Validation> validations;
  int64_t best = -1;              // index of the best validation; -1 without validation rows
  int64_t steps = 0, tokens = 0;  // tokens seen in training
  double loss = 0;                // of the last step
  double seconds = 0;             // steps and validations, over all sessions
  double tokens_per_second = 0;   // of this session's steps
  int64_t peak_bytes = 0;         // of this process, since the run began
  int64_t trained_parameters = 0;
  double learning_rate = 0;  // resolved
  MemoryPlan plan;
  std::filesystem::path saved;  // adapter/ or model/; empty when nothing was written

  /// All but the model, for result.json.
  Json to_json() const;
};

/// Runs to the end, to an early stop, or until request.stop (finishes its step, writes a checkpoint, outcome cancelled).
/// With the best parameters in place it writes request.out as save.h says, and result.json; the checkpoint is then removed.
/// Throws Error{invalid_argument} naming the tensor when a loss or gradient is not finite: the optimiser has not stepped,
/// and the checkpoint holds the state before; Error{out_of_memory} when the plan does not fit.
TrainResult train(const TrainRequest& request);

/// What train() would need, without training.
MemoryPlan plan(const TrainRequest& request);

}  // namespace lowrank::train
