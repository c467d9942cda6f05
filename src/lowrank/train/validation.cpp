#include "lowrank/train/validation.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <numeric>

#include "lowrank/base/error.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/evaluate/scores.h"

namespace lowrank::train {

namespace {

constexpr int64_t kRankedPairs = 64;

ProgressSink as_stage(const ProgressSink& sink, const std::string& stage) {
  if (!sink) return {};
  return [sink, stage](Progress progress) {
    progress.stage = stage;
    sink(progress);
  };
}

}  // namespace

at::Tensor frozen_features(const Trainee& trainee, const data::Dataset& dataset, const ProgressSink& progress) {
  const evaluate::ForwardOptions options{.token_budget = kEvaluationTokens, .progress = as_stage(progress, "encode")};
  return evaluate::embeddings_of(*trainee.model, dataset, models::Pooling::cls, /*normalise=*/false, options)
      .to(evaluate::device_of(*trainee.model));
}

Validator::Validator(const Trainee& trainee, const Objective& objective, const data::Dataset& rows, ProgressSink progress)
    : trainee_(trainee), objective_(objective), rows_(rows), progress_(as_stage(progress, "validate")) {
  if (trainee.method == "none" && has_rows()) features_ = frozen_features(trainee, rows, progress);
}

Validation Validator::run(const StopToken* stop) {
  const at::NoGradGuard no_grad;
  if (objective_.is_ranking()) return run_ranking(stop);
  const at::Tensor outputs = features_.defined()
                                 ? trainee_.model->classify(features_).cpu()
                                 : evaluate::outputs_of(*trainee_.model, rows_, {kEvaluationTokens, progress_, stop, trainee_.pooling});
  const evaluate::Scores scores = evaluate::score(rows_, outputs);
  score_name_ = scores.name;
  return {.loss = scores.loss, .score = scores.primary};
}

Validation Validator::run_ranking(const StopToken* stop) {
  score_name_ = "pair_accuracy";
  Validation result;
  for (int64_t begin = 0; begin < rows_.size(); begin += kRankedPairs) {
    if (stop != nullptr && stop->requested()) fail(ErrorKind::cancelled, "validate", "stopped by the user");
    std::vector<int64_t> indices(static_cast<size_t>(std::min(rows_.size() - begin, kRankedPairs)));
    std::iota(indices.begin(), indices.end(), begin);
    const data::Batch batch = data::collate(rows_, indices);
    const at::Tensor vectors = trainee_.outputs(evaluate::to_packed(batch, evaluate::device_of(*trainee_.model)));
    result.loss += objective_.sum(vectors, batch).item<double>();
    const at::Tensor similar = vectors.slice(0, 0, std::nullopt, 2).mm(vectors.slice(0, 1, std::nullopt, 2).t());
    result.score += similar.argmax(1).eq(at::arange(batch.size(), similar.options().dtype(at::kLong))).sum().item<double>();
    if (progress_) progress_({"validate", begin + batch.size(), rows_.size(), "texts", {}});
  }
  const auto n = static_cast<double>(rows_.size());
  result.loss /= n;
  result.score /= n;
  return result;
}

bool is_better(const Validation& a, const Validation& b, const std::string& best_by) {
  if (best_by == "score" && a.score != b.score) return a.score > b.score;
  return a.loss < b.loss;
}

}  // namespace lowrank::train
