// Looks at the validation rows during training.
#pragma once

#include "lowrank/base/stop.h"
#include "lowrank/train/checkpoint.h"
#include "lowrank/train/loss.h"
#include "lowrank/train/trainee.h"

namespace lowrank::train {

/// Tokens a forward pass without gradients may hold, in validation and for frozen features.
inline constexpr int64_t kEvaluationTokens = 2048;

/// First states [n, D] of all rows, float32 on the model's device: the head's inputs when nothing below it trains.
/// `progress` is called after each batch.
at::Tensor frozen_features(const Trainee& trainee, const data::Dataset& dataset, const ProgressSink& progress);

class Validator {
 public:
  /// `rows` may be empty. With method none their features are computed here, once.
  Validator(const Trainee& trainee, const Objective& objective, const data::Dataset& rows, ProgressSink progress);

  bool has_rows() const { return rows_.size() > 0; }
  /// The task's primary score (evaluate/scores.h); for pairs without values "pair_accuracy": the share of texts whose pair is
  /// the most similar of 64. Empty before the first run().
  const std::string& score_name() const { return score_name_; }
  /// Loss and score with the present parameters. Error{cancelled} when stopped.
  Validation run(const StopToken* stop);

 private:
  Validation run_ranking(const StopToken* stop);

  const Trainee& trainee_;
  const Objective& objective_;
  const data::Dataset& rows_;
  ProgressSink progress_;
  at::Tensor features_;
  std::string score_name_;
};

/// By "score": the higher score, or the lower loss of equal scores. By "loss": the lower loss.
bool is_better(const Validation& a, const Validation& b, const std::string& best_by);

}  // namespace lowrank::train
