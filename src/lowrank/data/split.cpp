#include "lowrank/data/split.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <unordered_map>

#include "lowrank/base/error.h"
#include "lowrank/base/random.h"
#include "lowrank/data/labels.h"
#include "lowrank/data/normalize.h"

namespace lowrank::data {

namespace {

using Group = std::vector<size_t>;  // rows with one key, in file order

/// Groups by stratum (that of their first row), in file order.
std::map<std::string, std::vector<Group>> group_rows(std::span<const std::string> keys, std::span<const std::string> strata) {
  std::map<std::string, std::vector<Group>> groups;
  std::unordered_map<std::string_view, std::pair<std::string_view, size_t>> home;  // key -> stratum, place in it
  for (size_t row = 0; row < keys.size(); ++row) {
    const auto known = home.find(keys[row]);
    if (known != home.end()) {
      groups[std::string(known->second.first)][known->second.second].push_back(row);
      continue;
    }
    auto& list = groups[strata[row]];
    home.emplace(keys[row], std::pair(std::string_view(strata[row]), list.size()));
    list.push_back({row});
  }
  return groups;
}

/// Deals groups to one part as long as they fit into its share of the rows seen so far.
class Dealer {
 public:
  Dealer(Part part, double fraction) : part_(part), fraction_(fraction) {}

  void see(size_t rows) { seen_ += static_cast<double>(rows); }
  bool has_room_for(const Group& group) const { return taken_ + static_cast<int64_t>(group.size()) <= std::llround(fraction_ * seen_); }
  void take(const Group& group, std::vector<Part>& parts) {
    for (const size_t row : group) parts[row] = part_;
    taken_ += static_cast<int64_t>(group.size());
  }
  void check_share() const {
    check(fraction_ == 0 || taken_ > 0, ErrorKind::invalid_argument, "split",
          "expected at least one {} row ({} of {} rows), got none: give more rows, a larger --{}-fraction, or 0 for no "
          "such set",
          to_string(part_), fraction_, seen_, to_string(part_));
  }

 private:
  Part part_;
  double fraction_, seen_ = 0;
  int64_t taken_ = 0;
};

std::vector<std::string> value_strata(std::span<const Row> rows) {
  std::vector<double> values(rows.size(), 1);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].labels.empty()) parse_value(rows[i].labels.front(), values[i]);
  }
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::string> strata;
  for (const double value : values) {  // equal values share a rank, hence a stratum
    const auto rank = std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin();
    strata.push_back(std::to_string(static_cast<size_t>(rank) * 10 / rows.size()));
  }
  return strata;
}

}  // namespace

std::string_view to_string(Part part) {
  switch (part) {
    case Part::train: return "train";
    case Part::validation: return "validation";
    case Part::test: return "test";
  }
  return "train";
}

std::string duplicate_key(const Row& row) {
  return row.text_pair.empty() ? normalize(row.text) : normalize(row.text) + '\x1f' + normalize(row.text_pair);
}

std::vector<std::string> strata_of(std::span<const Row> rows, Task task) {
  if (task == Task::regression || task == Task::embedding) return value_strata(rows);
  std::unordered_map<std::string, int64_t> counts;
  for (const auto& row : rows) {
    for (const auto& label : row.labels) ++counts[label];
  }
  std::vector<std::string> strata;
  for (const auto& row : rows) {
    const auto rarest = std::min_element(row.labels.begin(), row.labels.end(), [&](const auto& a, const auto& b) {
      return std::pair(counts[a], std::string_view(a)) < std::pair(counts[b], std::string_view(b));
    });
    strata.push_back(rarest == row.labels.end() ? std::string() : *rarest);
  }
  return strata;
}

std::vector<Part> split_rows(std::span<const std::string> keys, std::span<const std::string> strata, const SplitOptions& options) {
  check(options.validation_fraction + options.test_fraction < 1, ErrorKind::invalid_argument, "split",
        "expected validation-fraction + test-fraction below 1, got {} + {}", options.validation_fraction, options.test_fraction);
  std::vector<Part> parts(keys.size(), Part::train);
  Dealer test(Part::test, options.test_fraction), validation(Part::validation, options.validation_fraction);
  for (const auto& [stratum, groups] : group_rows(keys, strata)) {
    size_t rows = 0;
    for (const auto& group : groups) rows += group.size();
    test.see(rows);
    validation.see(rows);
    bool trains = false;
    auto order = RandomStream(options.seed, "split:" + stratum).permutation(static_cast<int64_t>(groups.size()));
    for (; !order.empty(); order.pop_back()) {
      const Group& group = groups[static_cast<size_t>(order.back())];
      const bool is_needed = order.size() == 1 && !trains;
      if (!is_needed && test.has_room_for(group)) {
        test.take(group, parts);
      } else if (!is_needed && validation.has_room_for(group)) {
        validation.take(group, parts);
      } else {
        trains = true;
      }
    }
  }
  test.check_share();
  validation.check_share();
  return parts;
}

}  // namespace lowrank::data
