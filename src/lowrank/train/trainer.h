// Runs one job to its end. The step is Run::step() in trainer.cpp: batch, forward, backward, check finite, step, report.
#pragma once

#include "lowrank/train/job.h"
#include "lowrank/train/memory_plan.h"
#include "lowrank/train/run_folder.h"

namespace lowrank::train {

enum class Outcome { finished, early_stopped, cancelled };
/// The enumerator's own name.
std::string_view to_string(Outcome outcome);

struct RunResult {
  Outcome outcome = Outcome::finished;
  std::string score_name;  // "accuracy"; empty without validation rows, and for a job with a loss alone
  std::vector<Validation> validations;
  int64_t best = -1;  // index of the best validation; -1 without validation rows
  int64_t steps = 0;
  std::string unit;             // what is counted: "tokens"
  int64_t units = 0;            // seen in training
  double loss = 0;              // of the last step
  double seconds = 0;           // steps and validations without samples, over all sessions
  double units_per_second = 0;  // of this session's steps
  int64_t peak_bytes = 0;       // of this process, since the run began
  int64_t trained_parameters = 0;
  double learning_rate = 0;  // resolved
  MemoryPlan plan;
  Json notes = Json::object();  // the job's
  std::filesystem::path saved;  // what Job::save() wrote; empty when nothing was written

  /// For result.json.
  Json to_json() const;
};

/// Runs to the end, to an early stop, or until request.stop (finishes its step, writes a checkpoint, outcome cancelled), and leaves
/// the best parameters in place. With a folder (open_folder(request)) it then writes what the job saves, and result.json; the
/// checkpoint is then removed.
/// Throws Error{invalid_argument} naming the tensor when a loss or gradient is not finite: the optimiser has not stepped,
/// and the checkpoint holds the state before; Error{out_of_memory} when the plan does not fit.
RunResult run(Job& job, const RunRequest& request, const RunFolder* folder = nullptr);

}  // namespace lowrank::train
