#include "lowrank/data/labels.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <set>

#include "lowrank/base/error.h"

namespace lowrank::data {

namespace {

constexpr std::array<Task, 4> kTasks = {Task::single_label, Task::multi_label, Task::regression, Task::embedding};

bool parse_whole(std::string_view text, int64_t& number) {
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc() && stop == text.data() + text.size();
}

}  // namespace

std::string_view to_string(Task task) {
  switch (task) {
    case Task::single_label: return "single_label";
    case Task::multi_label: return "multi_label";
    case Task::regression: return "regression";
    case Task::embedding: return "embedding";
  }
  return "single_label";
}

Task parse_task(std::string_view name) {
  std::vector<std::string> names;
  for (const Task task : kTasks) {
    if (name == to_string(task)) return task;
    names.emplace_back(to_string(task));
  }
  fail(ErrorKind::invalid_argument, "task",
       fmt::format("expected one of {}, got '{}'{}", fmt::join(names, ", "), name, did_you_mean(name, names)));
}

int64_t LabelSet::index(std::string_view name) const {
  const auto found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? -1 : found - names.begin();
}

LabelSet LabelSet::of(std::span<const Row> rows) {
  std::set<std::string> distinct;
  for (const auto& row : rows) distinct.insert(row.labels.begin(), row.labels.end());
  LabelSet set{{distinct.begin(), distinct.end()}};
  int64_t number = 0;
  if (std::all_of(set.names.begin(), set.names.end(), [&](const auto& name) { return parse_whole(name, number); })) {
    std::stable_sort(set.names.begin(), set.names.end(), [](const auto& a, const auto& b) {
      int64_t left = 0, right = 0;
      return parse_whole(a, left) && parse_whole(b, right) && left < right;
    });
  }
  return set;
}

Task detect_task(std::span<const Row> rows, bool has_label_lists, std::string_view where) {
  if (has_label_lists) return Task::multi_label;
  bool any = false, all_numbers = true, has_fraction = false;
  for (const auto& row : rows) {
    if (row.labels.size() > 1) return Task::multi_label;
    for (const auto& label : row.labels) {
      double value = 0;
      any = true;
      all_numbers &= parse_value(label, value);
      has_fraction |= label.find_first_of(".eE") != std::string::npos;
    }
  }
  check(any, ErrorKind::invalid_argument, where,
        "cannot tell the task: there are no labels (--label-column names their column; --task embedding needs none)");
  return all_numbers && has_fraction ? Task::regression : Task::single_label;
}

bool parse_value(std::string_view label, double& value) {
  const auto [stop, code] = std::from_chars(label.data(), label.data() + label.size(), value);
  return code == std::errc() && stop == label.data() + label.size() && std::isfinite(value);
}

}  // namespace lowrank::data
