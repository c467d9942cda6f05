#include "lowrank/data/checks.h"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>

#include "lowrank/base/error.h"
#include "lowrank/base/hash.h"

namespace lowrank::data {

namespace {

/// Rows of every key that occurs more than once, in order of first occurrence.
std::vector<std::vector<size_t>> repeated_rows(const Collection& collection) {
  std::unordered_map<std::string_view, size_t> group_of;
  std::vector<std::vector<size_t>> groups;
  for (size_t row = 0; row < collection.rows.size(); ++row) {
    const auto [found, is_new] = group_of.try_emplace(collection.keys[row], groups.size());
    if (is_new) groups.emplace_back();
    groups[found->second].push_back(row);
  }
  std::erase_if(groups, [](const auto& group) { return group.size() < 2; });
  return groups;
}

/// At most `bytes` bytes, cut between characters, with "…" where something is missing.
std::string shorten(const std::string& text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return text.substr(0, bytes) + "…";
}

std::string joined(std::vector<std::string> labels) {
  std::sort(labels.begin(), labels.end());
  return fmt::format("{}", fmt::join(labels, " + "));
}

RepeatedText describe(const Collection& collection, const std::vector<size_t>& group) {
  RepeatedText item{shorten(collection.rows[group.front()].text, 60), static_cast<int64_t>(group.size()), {}, {}};
  std::set<std::string> labels;
  for (const size_t row : group) {
    if (item.places.size() < DataReport::kListed) item.places.push_back(collection.places[row]);
    labels.insert(joined(collection.rows[row].labels));
  }
  item.labels.assign(labels.begin(), labels.end());
  return item;
}

void list(std::vector<RepeatedText>& items, const RepeatedText& item) {
  if (items.size() < DataReport::kListed) items.push_back(item);
}

std::string label_problem(const Row& row, Task task, const LabelSet& labels) {
  double value = 0;
  if (task == Task::regression || task == Task::embedding) {
    if (task == Task::embedding && row.labels.empty()) return {};
    const bool good = row.labels.size() == 1 && parse_value(row.labels.front(), value);
    return good ? "" : fmt::format("expected a number as label, got '{}'", joined(row.labels));
  }
  if (task == Task::single_label && row.labels.size() != 1) {
    return fmt::format("expected one label, got {} (--task multi_label allows several)", row.labels.size());
  }
  for (const auto& label : row.labels) {
    if (labels.index(label) < 0)
      return fmt::format("label '{}' is not among the training labels{}", label, did_you_mean(label, labels.names));
  }
  return {};
}

}  // namespace

void find_repeats(const Collection& collection, DataReport& report) {
  for (const auto& group : repeated_rows(collection)) {
    const RepeatedText item = describe(collection, group);
    std::array<int64_t, 3> in_part{};
    for (const size_t row : group) ++in_part[static_cast<size_t>(collection.parts[row])];
    const auto parts = 3 - std::count(in_part.begin(), in_part.end(), 0);
    if (static_cast<int64_t>(group.size()) > parts) list(report.duplicates, item);
    report.duplicate_rows += static_cast<int64_t>(group.size()) - parts;
    if (item.labels.size() > 1) list(report.conflicts, item);
    report.conflicting_texts += item.labels.size() > 1;
    if (parts > 1) list(report.leaks, item);
    report.leaked_texts += parts > 1;
  }
}

std::vector<bool> leaked_rows(const Collection& collection) {
  std::vector<bool> leaked(collection.rows.size());
  for (const auto& group : repeated_rows(collection)) {
    Part last = Part::train;
    for (const size_t row : group) last = std::max(last, collection.parts[row]);
    for (const size_t row : group) leaked[row] = collection.parts[row] < last;
  }
  return leaked;
}

void check_labels(const Collection& collection, Task task, const LabelSet& labels) {
  if (task == Task::single_label) {
    check(labels.size() >= 2, ErrorKind::invalid_argument, "data", "expected at least two different labels in the training rows, got {}{}",
          labels.size(), labels.names.empty() ? "" : fmt::format(": '{}'", labels.names.front()));
  }
  check(task != Task::multi_label || labels.size() > 0, ErrorKind::invalid_argument, "data", "no training row has a label");
  Problems problems(ErrorKind::file_format, "data");
  for (size_t row = 0; row < collection.rows.size(); ++row) {
    if (auto problem = label_problem(collection.rows[row], task, labels); !problem.empty()) {
      problems.add(collection.places[row] + ": " + problem);
    }
  }
  problems.raise_if_any("mend these rows, or choose another --label-column or --task");
}

std::string hash_rows(const Collection& collection) {
  Sha256 hash;
  const auto add = [&hash](std::string_view text) { hash.update(fmt::format("{}:", text.size())).update(text); };
  for (size_t i = 0; i < collection.rows.size(); ++i) {
    const Row& row = collection.rows[i];
    add(to_string(collection.parts[i]));
    add(row.text);
    add(row.text_pair);
    hash.update(fmt::format("{};", row.labels.size()));
    for (const auto& label : row.labels) add(label);
  }
  return hash.hex();
}

}  // namespace lowrank::data
