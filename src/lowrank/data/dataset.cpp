#include "lowrank/data/dataset.h"

#include <algorithm>

namespace lowrank::data {

int64_t Dataset::tokens() const {
  int64_t total = 0;
  for (const auto& example : examples) total += example.length();
  return total;
}

int64_t Dataset::longest() const {
  size_t longest = 0;
  for (const auto& example : examples) longest = std::max({longest, example.ids.size(), example.pair_ids.size()});
  return static_cast<int64_t>(longest);
}

}  // namespace lowrank::data
