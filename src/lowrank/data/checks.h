// Looks for what would make results untrue: repeated texts, contradictory labels, test texts seen in training.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "lowrank/data/labels.h"
#include "lowrank/data/report.h"
#include "lowrank/data/split.h"

namespace lowrank::data {

/// All rows of a data set, in file order, with what is known of each.
struct Collection {
  std::vector<Row> rows;
  std::vector<std::string> places;  // "train.jsonl:17"
  std::vector<std::string> keys;    // duplicate_key(row)
  std::vector<Part> parts;
};

/// Fills duplicates, conflicts and leaks of `report`.
void find_repeats(const Collection& collection, DataReport& report);

/// Marks what `--leakage drop` removes: training rows whose text is in validation or test, validation rows whose text
/// is in test.
std::vector<bool> leaked_rows(const Collection& collection);

/// Throws Error{file_format} naming every row whose labels do not suit the task, or are not in `labels`;
/// Error{invalid_argument} for a classification with fewer than two (single label) or no classes.
void check_labels(const Collection& collection, Task task, const LabelSet& labels);

/// SHA-256 over part, text, pair and labels of every row, each with its length, in order.
std::string hash_rows(const Collection& collection);

}  // namespace lowrank::data
