// Training an encoder from end to end.
#pragma once

#include "lowrank/train/request.h"
#include "lowrank/train/trainee.h"
#include "lowrank/train/trainer.h"

namespace lowrank::train {

struct TrainResult : RunResult {
  Trainee trainee;  // with the best parameters, ready for evaluation
};

/// run() of an EncoderJob. request.out is taken before the model is loaded.
TrainResult train(const TrainRequest& request);

/// What train() would need, without training.
MemoryPlan plan(const TrainRequest& request);

}  // namespace lowrank::train
