// What training minimises, as a sum of terms and their number, so that a batch may be split and still be one batch.
#pragma once

#include <ATen/core/Tensor.h>

#include "lowrank/data/batches.h"

namespace lowrank::train {

/// single_label: −log softmax(z)[y], or with label smoothing e of (1 − e)·that + e·the mean over all C labels (Szegedy et al., arXiv
/// 1512.00567; torch's `label_smoothing`).  multi_label: binary cross-entropy of each of C logits.  regression: (z − y)².
/// embedding with values: (cos(a, b) − y)².  embedding without (every value is 1): each text must find its pair among the
/// batch's, −log softmax(20·cos(aᵢ, b·))[i] (Henderson et al., arXiv 1705.00652; sentence-transformers'
/// MultipleNegativesRankingLoss), which cannot be split.
class Objective {
 public:
  /// Decides between the two embedding losses by the values of `train`.
  /// Error{invalid_argument} for label smoothing of another task than single_label.
  explicit Objective(const data::Dataset& train, double label_smoothing = 0);

  data::Task task() const { return task_; }
  /// Each row's loss depends on the others of its forward pass.
  bool is_ranking() const { return ranking_; }

  /// Number of terms of B rows: B, or B·C for multi_label.
  double weight(int64_t rows) const;
  /// Sum of the terms, a float32 scalar. `outputs`: logits [B, C], [B, 1] for regression, or unit vectors [2B, D] for
  /// embedding, text and pair in turn.
  at::Tensor sum(const at::Tensor& outputs, const data::Batch& batch) const;

 private:
  data::Task task_;
  bool ranking_ = false;
  int64_t classes_ = 0;
  double smoothing_;
};

/// cos(aᵢ, bᵢ) of unit vectors [2B, D] given in turn: [B].
at::Tensor pair_similarities(const at::Tensor& vectors);

}  // namespace lowrank::train
