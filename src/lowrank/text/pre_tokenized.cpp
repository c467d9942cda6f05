#include "lowrank/text/pre_tokenized.h"

#include <algorithm>

namespace lowrank::text {

namespace {

// Neighbours (of the order given) are joined where `join(is_match, previous_is_match)`.
template <class F>
std::vector<Match> join_neighbours(const std::vector<Match>& matches, F join) {
  std::vector<Match> out;
  bool previous = false;
  for (const auto& [begin, end, is_match] : matches) {
    if (join(is_match, previous) && !out.empty()) {
      out.back().begin = std::min(out.back().begin, begin);
      out.back().end = std::max(out.back().end, end);
    } else {
      out.push_back({begin, end, false});
    }
    previous = is_match;
  }
  return out;
}

bool starts_match(bool is_match, bool previous) { return is_match && !previous; }

}  // namespace

void apply_behaviour(std::vector<Match>& matches, Behaviour behaviour) {
  switch (behaviour) {
    case Behaviour::removed: break;
    case Behaviour::isolated:
      for (Match& match : matches) match.is_match = false;
      break;
    case Behaviour::contiguous:
      matches = join_neighbours(matches, [](bool is_match, bool previous) { return is_match == previous; });
      break;
    case Behaviour::merged_with_previous: matches = join_neighbours(matches, starts_match); break;
    case Behaviour::merged_with_next:
      std::reverse(matches.begin(), matches.end());
      matches = join_neighbours(matches, starts_match);
      std::reverse(matches.begin(), matches.end());
      break;
  }
}

}  // namespace lowrank::text
