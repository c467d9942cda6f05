// Label names, their numbers, and which task a table's labels speak of.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/data/table.h"
#include "lowrank/data/task.h"

namespace lowrank::data {

/// The classes of a task, in the order of the head's outputs.
struct LabelSet {
  std::vector<std::string> names;

  int64_t size() const { return static_cast<int64_t>(names.size()); }
  /// The number of `name`, or -1.
  int64_t index(std::string_view name) const;
  /// Distinct labels of `rows` in sorted order; by value when all are whole numbers ("2" before "10").
  static LabelSet of(std::span<const Row> rows);
};

/// What `--task auto` means for rows: lists of labels -> multi_label; numbers of which one has a fraction ->
/// regression; anything else -> single_label. Throws Error{invalid_argument} when there are no labels.
Task detect_task(std::span<const Row> rows, bool has_label_lists, std::string_view where);

/// The label as a number, for regression. Returns false when it is none or not finite.
bool parse_value(std::string_view label, double& value);

}  // namespace lowrank::data
