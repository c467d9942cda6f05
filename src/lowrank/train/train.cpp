#include "lowrank/train/train.h"

#include "lowrank/train/encoder_job.h"

namespace lowrank::train {

TrainResult train(const TrainRequest& request) {
  const auto folder = open_folder(request);
  EncoderJob job(request);
  TrainResult result{run(job, request, folder.get()), {}};
  result.trainee = std::move(job.trainee());
  return result;
}

MemoryPlan plan(const TrainRequest& request) {
  EncoderJob job(request);
  return plan_memory(job);
}

}  // namespace lowrank::train
