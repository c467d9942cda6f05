#include "lowrank/train/encoder_validation.h"

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

Validator::Validator(const Trainee& trainee, const Objective& objective, const data::Dataset& rows)
    : trainee_(trainee), objective_(objective), rows_(rows) {}

void Validator::prepare(const ProgressSink& progress) {
  if (has_rows()) features_ = frozen_features(trainee_, rows_, progress);
}

Validation Validator::run(const StopToken* stop, const ProgressSink& progress) {
  const at::NoGradGuard no_grad;
  if (objective_.is_ranking()) return run_ranking(stop, progress);
  const evaluate::ForwardOptions options{
      .token_budget = kEvaluationTokens, .progress = as_stage(progress, "validate"), .stop = stop, .pooling = trainee_.pooling};
  const at::Tensor outputs =
      features_.defined() ? trainee_.model->classify(features_).cpu() : evaluate::outputs_of(*trainee_.model, rows_, options);
  const evaluate::Scores scores = evaluate::score(rows_, outputs);
  score_name_ = scores.name;
  Validation result{.loss = scores.loss, .score = scores.primary};
  for (size_t i = 1; i < scores.all.size(); ++i) result.figures[scores.all[i].first] = scores.all[i].second;
  return result;
}

Validation Validator::run_ranking(const StopToken* stop, const ProgressSink& progress) {
  score_name_ = "pair_accuracy";
  Validation result;
  for (int64_t begin = 0; begin < rows_.size(); begin += kRankedPairs) {
    if (stop != nullptr && stop->requested()) fail(ErrorKind::cancelled, "validate", "stopped by the user");
    std::vector<int64_t> indices(static_cast<size_t>(std::min(rows_.size() - begin, kRankedPairs)));
    std::iota(indices.begin(), indices.end(), begin);
    const data::Batch batch = data::collate(rows_, indices);
    const at::Tensor vectors = trainee_.outputs(evaluate::to_model(batch, *trainee_.model));
    result.loss += objective_.sum(vectors, batch).item<double>();
    const at::Tensor similar = vectors.slice(0, 0, std::nullopt, 2).mm(vectors.slice(0, 1, std::nullopt, 2).t());
    result.score += similar.argmax(1).eq(at::arange(batch.size(), similar.options().dtype(at::kLong))).sum().item<double>();
    if (progress) progress({"validate", begin + batch.size(), rows_.size(), "texts", {}});
  }
  const auto n = static_cast<double>(rows_.size());
  result.loss /= n;
  result.score /= n;
  return result;
}

}  // namespace lowrank::train
