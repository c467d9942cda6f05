#include "lowrank/study/encoder_study.h"

#include <algorithm>

#include "lowrank/base/error.h"
#include "lowrank/evaluate/changed_scores.h"
#include "lowrank/evaluate/forgetting.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/evaluate/scores.h"
#include "lowrank/train/save.h"
#include "lowrank/train/train.h"

namespace lowrank::study {

class EncoderStudy::Trained : public TrainedRun {
 public:
  Trained(const EncoderStudy& study, train::TrainRequest request)
      : study_(study), request_(std::move(request)), result_(train::train(request_)) {}

  const train::RunResult& result() const override { return result_; }

  void test(Run& run, const Study& study, const RunHooks& hooks) override {
    const data::Dataset& rows = request_.split->test;
    models::Model& model = *result_.trainee.model;
    const evaluate::ForwardOptions options{.stop = hooks.stop};
    run.predicted = evaluate::score(rows, evaluate::outputs_of(model, rows, options)).predicted;
    score_predictions(run, study.test_labels);
    const at::Tensor adapted = evaluate::embeddings_of(model, rows, study_.pooling_, /*normalise=*/true, options);
    const evaluate::SimilarityDrift drift = evaluate::similarity_drift(study_.original_, adapted);
    run.forgetting = {drift.rank_agreement, drift.similarity_shift};
    if (study_.request_.robustness) run.under = evaluate::scores_under_change(model, rows, options);
  }

  void save(const std::filesystem::path& folder) const override {
    train::save_result(folder, request_.model, result_.trainee, train::describe(request_, result_.trainee, result_.to_json()));
  }

 private:
  const EncoderStudy& study_;
  train::TrainRequest request_;
  train::TrainResult result_;
};

EncoderStudy::EncoderStudy(EncoderStudyRequest request)
    : request_(std::move(request)), pooling_(models::stored_pooling(request_.model).first) {
  const auto& split = *request_.split;
  check(split.validation.size() > 0 && split.test.size() > 0, ErrorKind::invalid_argument, "compare",
        "expected validation and test rows, got {} and {}", split.validation.size(), split.test.size());
  check(split.train.task == data::Task::single_label, ErrorKind::unsupported, "compare",
        "expected a single-label task, got {}; train and eval take it", data::to_string(split.train.task));
}

double EncoderStudy::default_learning_rate(const std::string& method) const { return train::default_learning_rate(method); }

void EncoderStudy::describe(Study& study) const {
  const auto& split = *request_.split;
  study.model = request_.model.string();
  study.unit = split.train.pictures ? "pictures" : "tokens";
  study.data_hash = split.report.hash;
  study.label_names = split.labels.names;
  for (const auto& example : split.test.examples) study.test_labels.push_back(static_cast<int32_t>(example.labels.at(0)));
  std::vector<int64_t> counts(split.labels.names.size());
  for (const auto& example : split.train.examples) ++counts[static_cast<size_t>(example.labels.at(0))];
  study.majority_label = static_cast<int32_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
  study.data_report = split.report.to_json();
}

void EncoderStudy::measure_base(Study& /*study*/, const Study* /*before*/, const RunHooks& hooks) {
  const auto untouched = models::load_model(request_.model, {});
  original_ = evaluate::embeddings_of(*untouched, request_.split->test, pooling_, /*normalise=*/true, {.stop = hooks.stop});
}

std::unique_ptr<TrainedRun> EncoderStudy::train(const Run& run, const RunHooks& hooks) {
  train::TrainRequest request{.model = request_.model, .split = request_.split, .method = run.method};
  request.options = request_.train;
  request.options.learning_rate = run.learning_rate;
  request.options.seed = run.seed;
  if (run.method != "none" && run.method != "full") {
    request.adapter = request_.adapter_for(run.method);
    request.adapter->seed = static_cast<uint64_t>(run.seed);
  }
  request.stop = hooks.stop;
  request.progress = hooks.progress;
  return std::make_unique<Trained>(*this, std::move(request));
}

}  // namespace lowrank::study
