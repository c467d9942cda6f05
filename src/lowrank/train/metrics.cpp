#include "lowrank/train/metrics.h"

#include <chrono>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"

namespace lowrank::train {

namespace fs = std::filesystem;

namespace {

/// The whole lines of steps up to `step`.
std::vector<Json> kept_lines(const fs::path& path, int64_t step) {
  std::vector<Json> lines;
  if (!fs::exists(path)) return lines;
  const std::string text = read_file(path);
  for (size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    Json line = parse_json(std::string_view(text).substr(begin, end - begin), path.string());
    if (line.at("step").get<int64_t>() <= step) lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

MetricsWriter::MetricsWriter(const fs::path& folder, int64_t step) : path_(folder / "metrics.jsonl") {
  const auto kept = kept_lines(path_, step);
  std::string text;
  for (const Json& line : kept) text += format_json_line(line);
  write_file_atomic(path_, text);
  file_.open(path_, std::ios::app);
  const fs::path boards = folder / "tensorboard";
  fs::remove_all(boards);
  fs::create_directories(boards);
  const double start = kept.empty() ? unix_time() : kept.front().at("time").get<double>();
  events_ = std::make_unique<EventFile>(boards / fmt::format("events.out.tfevents.{}.lowrank", static_cast<int64_t>(start)), start);
  for (const Json& line : kept) append_event(line);
}

void MetricsWriter::write(const Json& line) {
  file_ << format_json_line(line) << std::flush;
  check(file_.good(), ErrorKind::io, path_.string(), "expected to append a line, but the system refused");
  append_event(line);
}

void MetricsWriter::append_event(const Json& line) {
  std::vector<std::pair<std::string, double>> values;
  const bool validation = line.at("event") == "validation";
  for (const auto& [name, value] : line.items()) {
    if (!value.is_number() || name == "step" || name == "time") continue;
    const std::string tag = validation && name == "score" ? line.at("score_name").get<std::string>() : name;
    values.emplace_back((validation ? "validation/" : "train/") + tag, value.get<double>());
  }
  events_->scalars(line.at("step"), line.at("time"), values);
}

double unix_time() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

}  // namespace lowrank::train
