// One training run, as a program or a study asks for it.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "lowrank/adapters/config.h"
#include "lowrank/base/progress.h"
#include "lowrank/base/stop.h"
#include "lowrank/data/dataset.h"
#include "lowrank/train/options.h"

namespace lowrank::train {

/// One line of metrics.jsonl. {"event":"step", step, epoch, loss, learning_rate, grad_norm, tokens, tokens_per_second,
/// peak_bytes, time} or {"event":"validation", step, epoch, loss, score, score_name, best, time}; time in Unix seconds.
using MetricSink = std::function<void(const Json&)>;

struct TrainRequest {
  std::filesystem::path model;                     // a Hugging Face folder
  const data::Split* split = nullptr;              // must outlive the run
  std::string method = "lora";                     // a method of adapters.def; none: the head alone; full: everything
  std::optional<adapters::AdapterConfig> adapter;  // of `method`; its default configuration when absent
  TrainOptions options;
  Json record = Json::object();  // further options to write down beside the result (data, say)
  std::filesystem::path out;     // empty: nothing is written
  bool resume = false;           // go on from out/checkpoint.safetensors, if there is one
  ProgressSink progress;
  MetricSink metrics;
  const StopToken* stop = nullptr;
};

}  // namespace lowrank::train
