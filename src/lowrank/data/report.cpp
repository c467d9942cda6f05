#include "lowrank/data/report.h"

#include <algorithm>
#include <cmath>

#include "lowrank/base/error.h"

namespace lowrank::data {

namespace {

std::vector<int64_t> sorted_lengths(std::span<const TokenCount> counts) {
  std::vector<int64_t> lengths;
  for (const auto& count : counts) lengths.push_back(count.full);
  std::sort(lengths.begin(), lengths.end());
  return lengths;
}

int64_t quantile(const std::vector<int64_t>& sorted, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<size_t>(rank, 1) - 1];
}

/// The least of 1, 2, 5, 10, 20, 50, … that is not below `value`.
int64_t round_up_nicely(int64_t value) {
  for (int64_t unit = 1;; unit *= 10) {
    for (const int64_t step : {unit, 2 * unit, 5 * unit}) {
      if (step >= value) return step;
    }
  }
}

Json to_json(const std::vector<RepeatedText>& texts) {
  Json list = Json::array();
  for (const auto& item : texts)
    list.push_back({{"text", item.text}, {"rows", item.rows}, {"places", item.places}, {"labels", item.labels}});
  return list;
}

Json to_json(const LengthStats& stats) {
  return {{"rows", stats.rows},
          {"tokens", stats.tokens},
          {"mean", stats.mean},
          {"min", stats.min},
          {"median", stats.median},
          {"p95", stats.p95},
          {"max", stats.max},
          {"truncated_rows", stats.truncated_rows},
          {"cut_tokens", stats.cut_tokens}};
}

}  // namespace

std::string counted(int64_t number, std::string_view noun) { return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s"); }

LengthStats summarize_lengths(std::span<const TokenCount> counts) {
  LengthStats stats;
  if (counts.empty()) return stats;
  const auto sorted = sorted_lengths(counts);
  int64_t full = 0;
  for (const auto& count : counts) {
    full += count.full;
    stats.tokens += count.kept;
    stats.truncated_rows += count.kept < count.full;
  }
  stats.rows = static_cast<int64_t>(counts.size());
  stats.cut_tokens = full - stats.tokens;
  stats.mean = static_cast<double>(full) / static_cast<double>(stats.rows);
  stats.min = sorted.front();
  stats.median = quantile(sorted, 0.5);
  stats.p95 = quantile(sorted, 0.95);
  stats.max = sorted.back();
  return stats;
}

std::vector<HistogramBin> length_histogram(std::span<const TokenCount> counts) {
  std::vector<HistogramBin> bins;
  if (counts.empty()) return bins;
  const auto sorted = sorted_lengths(counts);
  const int64_t width = round_up_nicely((quantile(sorted, 0.99) + 9) / 10);
  for (int64_t low = sorted.front() / width * width; low <= quantile(sorted, 0.99); low += width) {
    bins.push_back({low, low + width - 1, 0});
  }
  if (sorted.back() > bins.back().high) bins.push_back({bins.back().high + 1, sorted.back(), 0});
  for (const int64_t length : sorted) {
    const auto bin = std::min(static_cast<size_t>((length - bins.front().low) / width), bins.size() - 1);
    ++bins[bin].rows;
  }
  return bins;
}

Json DataReport::to_json() const {
  Json json = {{"task", to_string(task)}, {"task_detected", task_detected}, {"hash", hash}, {"max_length", max_length}};
  for (const auto& file : files) {
    json["files"].push_back({{"path", file.path},
                             {"format", file.format},
                             {"part", to_string(file.part)},
                             {"rows", file.rows},
                             {"blank_lines", file.blank_lines}});
  }
  json["columns"] = {
      {"text", text_column}, {"text_pair", text_pair_column}, {"label", label_column}, {"detected", detected}, {"unused", unused_columns}};
  if (was_split) json["split_seed"] = split_seed;
  for (const auto& report : pictures) json["pictures"].push_back(report.to_json());
  json["labels"] = Json::array();
  for (const auto& [label, rows] : labels) {
    json["labels"].push_back({{"label", label}, {"train", rows[0]}, {"validation", rows[1]}, {"test", rows[2]}});
  }
  for (const Part part : {Part::train, Part::validation, Part::test}) {
    json["lengths"][std::string(to_string(part))] = data::to_json(lengths[static_cast<size_t>(part)]);
  }
  json["histogram"] = Json::array();
  for (const auto& bin : histogram) json["histogram"].push_back({{"low", bin.low}, {"high", bin.high}, {"rows", bin.rows}});
  json["truncated"] = {{"rows", truncated_rows}, {"longest", Json::array()}};
  for (const auto& row : truncated) {
    json["truncated"]["longest"].push_back({{"place", row.place}, {"tokens", row.tokens}, {"cut", row.cut}});
  }
  json["duplicates"] = {{"rows", duplicate_rows}, {"first", data::to_json(duplicates)}};
  json["conflicts"] = {{"texts", conflicting_texts}, {"first", data::to_json(conflicts)}};
  json["leakage"] = {{"texts", leaked_texts}, {"dropped_rows", dropped_rows}, {"first", data::to_json(leaks)}};
  json["warnings"] = warnings;
  return json;
}

}  // namespace lowrank::data
