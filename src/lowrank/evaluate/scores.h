// How good predictions are, as the task measures it. Higher is better for every primary score.
#pragma once

#include <ATen/core/Tensor.h>
#include <string>
#include <utility>
#include <vector>

#include "lowrank/data/dataset.h"

namespace lowrank::evaluate {

struct Scores {
  std::string name;  // of the primary score
  double primary = 0;
  std::vector<std::pair<std::string, double>> all;  // primary first
  std::vector<int32_t> predicted;                   // [n] label of each item; single_label only
  std::vector<double> items;                        // [n] each item's share of the primary score, where it is a mean
  double loss = 0;                                  // the task's own loss, mean over its terms
};

/// outputs [n, C] logits for single_label and multi_label, [n, 1] values for regression, [n] similarities for embedding; rows
/// in the data set's order.
/// single_label: accuracy, macro_f1 (over labels that occur in truth or prediction).
/// multi_label (a label is predicted when its logit > 0): micro_f1, macro_f1, exact_match.
/// regression, embedding: spearman, pearson, mean squared error.
Scores score(const data::Dataset& dataset, const at::Tensor& outputs);

/// Pearson's correlation; 0 when either side is constant.
double pearson(const std::vector<double>& a, const std::vector<double>& b);
/// Spearman's: Pearson's of the ranks, ties sharing their mean rank.
double spearman(const std::vector<double>& a, const std::vector<double>& b);

/// Unweighted mean over the C labels of 2·tp/(2·tp + fp + fn), over labels that occur in truth or prediction.
double macro_f1(const std::vector<int64_t>& truth, const std::vector<int32_t>& predicted, int64_t classes);

}  // namespace lowrank::evaluate
