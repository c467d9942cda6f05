#include "lowrank/data/parts.h"

#include <algorithm>
#include <numeric>

#include "lowrank/base/error.h"

namespace lowrank::data {

namespace {

constexpr std::array<Part, 3> kParts = {Part::train, Part::validation, Part::test};

void drop_rows(Collection& rows, const std::vector<bool>& drop) {
  const auto keep_in = [&drop](auto& list) {
    size_t at = 0;
    std::erase_if(list, [&](const auto&) { return static_cast<bool>(drop[at++]); });
  };
  keep_in(rows.rows);
  keep_in(rows.places);
  keep_in(rows.keys);
  keep_in(rows.parts);
}

}  // namespace

void split_missing(Collection& rows, const std::array<bool, 3>& given, Task task, const DataOptions& options, DataReport& report) {
  const auto share = [&](Part part, double fraction) { return given[static_cast<size_t>(part)] ? 0 : fraction; };
  const SplitOptions split{share(Part::validation, options.validation_fraction), share(Part::test, options.test_fraction),
                           static_cast<uint64_t>(options.split_seed)};
  if (split.validation_fraction + split.test_fraction == 0) return;
  report.was_split = true;
  report.split_seed = options.split_seed;
  const auto train_rows = static_cast<size_t>(std::count(rows.parts.begin(), rows.parts.end(), Part::train));
  const auto strata = strata_of(std::span(rows.rows).first(train_rows), task);  // training rows come first
  const auto parts = split_rows(std::span(rows.keys).first(train_rows), strata, split);
  std::copy(parts.begin(), parts.end(), rows.parts.begin());
}

std::vector<bool> mend_leakage(Collection& rows, const DataOptions& options, DataReport& report) {
  if (report.leaked_texts == 0 || options.leakage == "allow") return std::vector<bool>(rows.rows.size());
  if (options.leakage == "error") {
    const auto& first = report.leaks.front();
    fail(ErrorKind::invalid_argument, "data",
         fmt::format("expected train, validation and test to share nothing, got {} rows in two of them, such as \"{}\" at {}",
                     report.leaked_texts, first.text, fmt::join(first.places, ", ")),
         "--leakage drop leaves the training copies out; --leakage allow keeps them, and the scores will flatter");
  }
  auto drop = leaked_rows(rows);
  report.dropped_rows = std::count(drop.begin(), drop.end(), true);
  drop_rows(rows, drop);
  return drop;
}

LabelSet labels_of_training(const Collection& rows, Task task) {
  if (task != Task::single_label && task != Task::multi_label) return {};
  std::vector<Row> training;
  for (size_t i = 0; i < rows.rows.size(); ++i) {
    if (rows.parts[i] == Part::train) training.push_back({{}, {}, rows.rows[i].labels, 0});
  }
  return LabelSet::of(training);
}

void count_labels(const Collection& rows, const LabelSet& labels, DataReport& report) {
  for (const auto& name : labels.names) report.labels.push_back({name, {}});
  for (size_t i = 0; i < rows.rows.size() && labels.size() > 0; ++i) {
    for (const auto& label : rows.rows[i].labels) {
      ++report.labels[static_cast<size_t>(labels.index(label))].rows[static_cast<size_t>(rows.parts[i])];
    }
  }
}

void warn_of_few(const Collection& rows, DataReport& report) {
  for (const Part part : kParts) {
    if (std::count(rows.parts.begin(), rows.parts.end(), part) == 0) continue;
    const int64_t enough = part == Part::train ? 5 : 1;
    std::vector<std::string> few;
    for (const auto& item : report.labels) {
      if (item.rows[static_cast<size_t>(part)] < enough) few.push_back(item.label);
    }
    if (few.empty()) continue;
    const auto number = static_cast<int64_t>(few.size());
    few.resize(std::min<size_t>(few.size(), 5));
    report.warnings.push_back(fmt::format("{} with {} {} rows: {}{}", counted(number, "label"), part == Part::train ? "fewer than 5" : "no",
                                          to_string(part), fmt::join(few, ", "), number > 5 ? ", …" : ""));
  }
}

}  // namespace lowrank::data
