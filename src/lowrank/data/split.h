// Which rows train, which validate, which test: stratified, seeded, and never the same text on two sides.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/data/table.h"
#include "lowrank/data/task.h"

namespace lowrank::data {

enum class Part { train, validation, test };

std::string_view to_string(Part part);

struct SplitOptions {
  double validation_fraction = 0.1, test_fraction = 0.1;
  uint64_t seed = 42;
};

/// What stays together: rows with equal keys (normalised text and pair) go to the same side.
std::string duplicate_key(const Row& row);

/// The stratum of every row: its rarest label (single and multi label), the tenth of the value range by rank
/// (regression, embedding with values), or one for all.
std::vector<std::string> strata_of(std::span<const Row> rows, Task task);

/// A part for every row. Within a stratum groups of equal keys are shuffled by the seed and dealt out as long as they
/// fit into the shares, test first; what rounding leaves open carries over to the next stratum. Every stratum keeps a
/// group in training. Throws Error{invalid_argument} when the fractions leave no training rows or a share that was
/// asked for stays empty.
std::vector<Part> split_rows(std::span<const std::string> keys, std::span<const std::string> strata, const SplitOptions& options);

}  // namespace lowrank::data
