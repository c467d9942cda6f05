// A model of pictures scored once for each changed condition.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "lowrank/evaluate/forward.h"

namespace lowrank::evaluate {

/// The primary score (scores.h) under each of conditions(), by name and in their order. `options.change` is not used.
std::vector<std::pair<std::string, double>> scores_under_change(models::Model& model, const data::Dataset& dataset,
                                                                ForwardOptions options = {});

}  // namespace lowrank::evaluate
