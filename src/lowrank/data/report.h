// What is in the data, said before training: rows, labels, lengths, what is cut, duplicates, leakage, and a hash of it
// all.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/base/json.h"
#include "lowrank/data/images/image_report.h"
#include "lowrank/data/split.h"
#include "lowrank/data/task.h"

namespace lowrank::data {

/// Tokens of the texts of one part, special tokens included, before cutting. Quantiles are the nearest rank's.
struct LengthStats {
  int64_t rows = 0, tokens = 0;  // tokens: after cutting, what a pass over the part costs
  int64_t min = 0, median = 0, p95 = 0, max = 0;
  double mean = 0;
  int64_t truncated_rows = 0, cut_tokens = 0;
};

struct HistogramBin {
  int64_t low = 0, high = 0;  // inclusive; the last bin is open above
  int64_t rows = 0;
};

struct LabelCount {
  std::string label;
  std::array<int64_t, 3> rows{};  // by Part
};

struct FileSummary {
  std::string path, format;
  Part part = Part::train;  // train also where other parts were split off
  int64_t rows = 0, blank_lines = 0;
};

struct TruncatedRow {
  std::string place;  // "train.jsonl:17"
  int64_t tokens = 0, cut = 0;
};

/// One text that occurs more than once (up to case and white space).
struct RepeatedText {
  std::string text;                         // shortened
  int64_t rows = 0;                         // that hold it
  std::vector<std::string> places, labels;  // the first places; the distinct labels
};

/// Lists hold the first kListed entries; the counts beside them are complete.
struct DataReport {
  static constexpr size_t kListed = 10;

  std::vector<FileSummary> files;
  Task task = Task::single_label;
  bool task_detected = false;
  std::string text_column, text_pair_column, label_column;
  std::vector<std::string> detected, unused_columns;
  bool was_split = false;  // some part was split off by us, with `split_seed`
  int64_t split_seed = 0, max_length = 0;

  std::vector<LabelCount> labels;        // in LabelSet order; empty for regression and embedding
  std::array<LengthStats, 3> lengths{};  // by Part
  std::vector<HistogramBin> histogram;   // of all rows
  int64_t truncated_rows = 0;
  std::vector<TruncatedRow> truncated;  // longest first

  int64_t duplicate_rows = 0;  // rows that repeat an earlier one of the same part
  std::vector<RepeatedText> duplicates;
  int64_t conflicting_texts = 0;  // texts that carry different labels
  std::vector<RepeatedText> conflicts;
  int64_t leaked_texts = 0, dropped_rows = 0;  // texts in two parts; rows that --leakage drop removed
  std::vector<RepeatedText> leaks;
  std::vector<std::string> warnings;
  std::vector<ImageReport> pictures;  // of each folder of pictures; empty for texts
  std::string hash;                   // SHA-256 over part, text, pair and labels of every row, in order

  Json to_json() const;
  /// A table for the terminal: UTF-8, no colour, at most 100 columns (long labels and paths aside).
  std::string to_text() const;
};

struct TokenCount {
  int64_t full = 0, kept = 0;
};

/// "1 row", "2 rows".
std::string counted(int64_t number, std::string_view noun);

LengthStats summarize_lengths(std::span<const TokenCount> counts);

/// About ten bins of a round width up to the 99th percentile, then an open one.
std::vector<HistogramBin> length_histogram(std::span<const TokenCount> counts);

}  // namespace lowrank::data
