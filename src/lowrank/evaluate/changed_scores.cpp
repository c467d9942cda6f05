#include "lowrank/evaluate/changed_scores.h"

#include "lowrank/evaluate/scores.h"

namespace lowrank::evaluate {

std::vector<std::pair<std::string, double>> scores_under_change(models::Model& model, const data::Dataset& dataset,
                                                                ForwardOptions options) {
  std::vector<std::pair<std::string, double>> scores;
  for (const auto& [name, change] : conditions()) {
    options.change = change;
    scores.emplace_back(name, score(dataset, outputs_of(model, dataset, options)).primary);
  }
  return scores;
}

}  // namespace lowrank::evaluate
