// How a run is wanted, whatever it trains.
#pragma once

#include <filesystem>
#include <functional>

#include "lowrank/base/progress.h"
#include "lowrank/base/stop.h"
#include "lowrank/train/options.h"

namespace lowrank::train {

/// One line of metrics.jsonl. {"event":"step", step, epoch, loss, learning_rate, grad_norm, <unit>, <unit>_per_second,
/// peak_bytes, time} or {"event":"validation", step, epoch, loss, score, score_name, best, time, and the job's own figures};
/// time in Unix seconds, <unit> what the job counts: tokens, pictures.
using MetricSink = std::function<void(const Json&)>;

struct RunRequest {
  TrainOptions options;
  Json record = Json::object();  // further options to write down beside the result (data, say)
  std::filesystem::path out;     // empty: nothing is written
  bool resume = false;           // go on from out/checkpoint.safetensors, if there is one
  ProgressSink progress;
  MetricSink metrics;
  const StopToken* stop = nullptr;
};

}  // namespace lowrank::train
