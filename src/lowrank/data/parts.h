// What preparing texts and preparing pictures have in common: parts, labels, leakage.
#pragma once

#include <array>
#include <vector>

#include "lowrank/data/checks.h"
#include "lowrank/data/options.h"

namespace lowrank::data {

/// Deals training rows to the parts that were not `given` (by Part). Training rows come first.
void split_missing(Collection& rows, const std::array<bool, 3>& given, Task task, const DataOptions& options, DataReport& report);

/// What options.leakage says about the leaks that find_repeats() found; returns which rows were dropped. Error{invalid_argument}
/// where it is "error" and there are some.
std::vector<bool> mend_leakage(Collection& rows, const DataOptions& options, DataReport& report);

/// Of the training rows, for tasks with classes; else empty.
LabelSet labels_of_training(const Collection& rows, Task task);

/// Fills report.labels.
void count_labels(const Collection& rows, const LabelSet& labels, DataReport& report);

/// A warning for labels with fewer than 5 training rows, or none elsewhere.
void warn_of_few(const Collection& rows, DataReport& report);

}  // namespace lowrank::data
