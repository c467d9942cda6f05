// Looks at an encoder's validation rows during training.
#pragma once

#include "lowrank/base/progress.h"
#include "lowrank/base/stop.h"
#include "lowrank/train/loss.h"
#include "lowrank/train/trainee.h"
#include "lowrank/train/validation.h"

namespace lowrank::train {

/// Tokens a forward pass without gradients may hold, in validation and for frozen features.
inline constexpr int64_t kEvaluationTokens = 2048;

/// First states [n, D] of all rows, float32 on the model's device: the head's inputs when nothing below it trains.
/// `progress` is called after each batch.
at::Tensor frozen_features(const Trainee& trainee, const data::Dataset& dataset, const ProgressSink& progress);

class Validator {
 public:
  /// `rows` may be empty. All three must outlive it.
  Validator(const Trainee& trainee, const Objective& objective, const data::Dataset& rows);

  /// For method none: computes the rows' features, once.
  void prepare(const ProgressSink& progress);
  bool has_rows() const { return rows_.size() > 0; }
  /// The task's primary score (evaluate/scores.h); for pairs without values "pair_accuracy": the share of texts whose pair is
  /// the most similar of 64. Empty before the first run().
  const std::string& score_name() const { return score_name_; }
  /// Loss and score with the present parameters, and the task's other scores as figures. Error{cancelled} when stopped.
  Validation run(const StopToken* stop, const ProgressSink& progress);

 private:
  Validation run_ranking(const StopToken* stop, const ProgressSink& progress);

  const Trainee& trainee_;
  const Objective& objective_;
  const data::Dataset& rows_;
  at::Tensor features_;
  std::string score_name_;
};

}  // namespace lowrank::train
