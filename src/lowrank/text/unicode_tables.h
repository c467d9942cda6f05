// Range tables behind unicode.h, sorted; written by tools/golden/unicode_tables.py.
#pragma once

#include <span>

#include "lowrank/text/unicode.h"

namespace lowrank::text {

struct StandIn {
  char32_t first, last, replacement;
};

extern const std::span<const Range> kBertControlTable, kNonspacingMarkTable, kCombiningMarkTable, kPunctuationTable, kNumericTable,
    kWordTable;
/// Canonical combining class above 1.
extern const std::span<const Range> kReorderedTable;
extern const std::span<const StandIn> kRegexStandInTable;

}  // namespace lowrank::text
