// TensorBoard event files: TFRecord frames (length, masked CRC-32C, data, masked CRC-32C) of Event protobufs with scalar
// summaries (tensorflow/core/util/event.proto, framework/summary.proto; lib/io/record_writer.cc).
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace lowrank::train {

class EventFile {
 public:
  /// Creates the file and writes its version record. Throws Error{io}.
  EventFile(const std::filesystem::path& path, double wall_time);
  /// Appends one event; whole events are on disk after each call.
  void scalars(int64_t step, double wall_time, const std::vector<std::pair<std::string, double>>& values);

 private:
  void record(const std::string& event);

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace lowrank::train
