// What happened at each step: metrics.jsonl is the record, TensorBoard's event file is made from it.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>

#include "lowrank/base/json.h"
#include "lowrank/train/tensorboard.h"

namespace lowrank::train {

class MetricsWriter {
 public:
  /// Opens folder/metrics.jsonl and folder/tensorboard/. Lines of an earlier session up to `step` are kept, later ones (and a
  /// half-written last one) are dropped, and the event file is written anew from what is kept: nothing appears twice.
  MetricsWriter(const std::filesystem::path& folder, int64_t step);
  /// Appends one line; see MetricSink for its members.
  void write(const Json& line);

 private:
  void append_event(const Json& line);

  std::filesystem::path path_;
  std::ofstream file_;
  std::unique_ptr<EventFile> events_;
};

/// Seconds since 1970.
double unix_time();

}  // namespace lowrank::train
