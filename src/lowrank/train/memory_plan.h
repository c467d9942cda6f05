// Bytes that a run will need, known before its first step. Instead of formulas a family and method must keep true, two small
// slices of the largest batch go forward and backward under an allocation meter, and a line is drawn through their peaks. A run has
// phases that hold different things (preparing, training, sampling): the one that needs most counts.
#pragma once

#include <algorithm>
#include <c10/core/Device.h>

#include "lowrank/base/json.h"
#include "lowrank/train/job.h"
#include "lowrank/train/options.h"

namespace lowrank::train {

struct MemoryPhase {
  std::string name;
  int64_t released = 0;     // of what the process holds now, let go of before
  int64_t activations = 0;  // of its largest batch
  std::string remedy;       // when it does not fit
};

struct MemoryPlan {
  c10::Device device = c10::kCPU;  // whose memory all figures are of
  int64_t process = 0;             // in use before the first step: weights; of the CPU also program, libraries, data
  int64_t optimiser = 0;           // gradients, both moments and the best copy of what trains
  int64_t activations = 0;         // of the phase that needs most: a training batch forward and backward, a validation batch
  int64_t holes = 0;               // what the heap loses between blocks of changing sizes: 30 % of activations, as measured
  int64_t batch_units = 0;         // in the largest training pass
  int64_t batch_rows = 0;
  std::string unit = "tokens";      // what the units are
  int64_t released = 0;             // of `process`, before the phase that needs most
  std::vector<MemoryPhase> phases;  // that one first

  /// Never less than what is there when training is set up.
  int64_t peak() const { return process + optimiser + std::max<int64_t>(0, activations + holes - released); }
  int64_t peak_of(const MemoryPhase& phase) const;
  Json to_json() const;
};

/// Runs the job's probes over an eighth and a half of their rows (those of one row without gradients once). Gradients of what trains are
/// undefined afterwards.
MemoryPlan plan_memory(Job& job);

/// Call after each batch: batches of ever new sizes leave the heap full of holes, which go back to the system when this
/// process is larger than the plan without them.
void keep_to(const MemoryPlan& plan);

/// Throws Error{out_of_memory} when what the plan still has to allocate exceeds `available` bytes, with the batch size and
/// accumulation that would fit.
void require_memory(const MemoryPlan& plan, int64_t available, const TrainOptions& options);

/// Most bytes of the device that tensors took at once while `work` ran, beyond what was there before.
int64_t peak_allocation(c10::Device device, const std::function<void()>& work);

}  // namespace lowrank::train
