#include "lowrank/study/runner.h"

#include <algorithm>
#include <map>
#include <optional>
#include <torch/version.h>

#include "lowrank/base/error.h"
#include "lowrank/base/hash.h"
#include "lowrank/base/log.h"
#include "lowrank/evaluate/changed_scores.h"
#include "lowrank/evaluate/forgetting.h"
#include "lowrank/evaluate/scores.h"
#include "lowrank/study/summary.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/save.h"
#include "lowrank/train/train.h"

namespace lowrank::study {

namespace fs = std::filesystem;

namespace {

/// Rounded to three digits, so that a rate reads well and is the same number again when a file is read.
double rate_of(const std::string& method, double factor) {
  return std::stod(fmt::format("{:.3g}", train::default_learning_rate(method) * factor));
}

class Runner {
 public:
  explicit Runner(const CompareRequest& request);
  CompareResult go();

 private:
  bool compare_method(const std::string& method);
  bool search(const std::string& method);
  bool test(const std::string& method, double rate);
  /// Trains one run unless its record is there. False when the user stopped.
  bool run_once(Run key);
  void train_into(Run& run);
  void test_into(Run& run, train::TrainResult& result);
  void keep(const Run& run, const train::TrainRequest& request, const train::TrainResult& result);
  void note(const Run& run);
  void open_study();
  train::TrainRequest train_request(const Run& run) const;
  Run key(const std::string& method, double rate, int64_t seed, RunPhase phase) const;
  bool stopped() const { return request_.stop != nullptr && request_.stop->requested(); }

  const CompareRequest& request_;
  Study study_;
  at::Tensor original_;  // embeddings of the test rows before any adaptation [n, D]
  models::Pooling pooling_;
  std::map<std::string, train::TrainResult> searched_;  // by final run name: trained while searching, not tested yet
  int64_t done_ = 0, total_ = 0;
};

Runner::Runner(const CompareRequest& request) : request_(request), pooling_(models::stored_pooling(request.model).first) {
  const auto& split = *request.split;
  check(split.validation.size() > 0 && split.test.size() > 0, ErrorKind::invalid_argument, "compare",
        "expected validation and test rows, got {} and {}", split.validation.size(), split.test.size());
  check(split.train.task == data::Task::single_label, ErrorKind::unsupported, "compare",
        "expected a single-label task, got {}; train and eval take it", data::to_string(split.train.task));
  check(!request.options.methods.empty() && request.options.seeds >= 1 && request.options.search_seeds <= request.options.seeds,
        ErrorKind::invalid_argument, "compare", "expected a method and at least as many seeds ({}) as search seeds ({})",
        request.options.seeds, request.options.search_seeds);
  const auto methods = static_cast<int64_t>(request.options.methods.size());
  const int64_t rates = static_cast<int64_t>(request.options.rate_factors.size());
  total_ = methods * (rates * request.options.search_seeds + request.options.seeds);
}

void Runner::open_study() {
  const auto& split = *request_.split;
  study_.title = request_.title;
  study_.command = request_.command;
  study_.model = request_.model.string();
  study_.unit = split.train.pictures ? "pictures" : "tokens";
  study_.data_hash = split.report.hash;
  study_.reference = request_.options.reference;
  study_.methods = request_.options.methods;
  for (const auto* method : adapters::methods()) study_.titles[std::string(method->name())] = method->title();
  study_.label_names = split.labels.names;
  for (const auto& example : split.test.examples) study_.test_labels.push_back(static_cast<int32_t>(example.labels.at(0)));
  std::vector<int64_t> counts(split.labels.names.size());
  for (const auto& example : split.train.examples) ++counts[static_cast<size_t>(example.labels.at(0))];
  study_.majority_label = static_cast<int32_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
  study_.data_report = split.report.to_json();
  study_.options = request_.resolved;
  study_.machine = {{"description", tensor::machine_description()}};
  study_.versions = {{"libtorch", TORCH_VERSION}};
  if (fs::exists(request_.out / "study.json")) {
    Study before = load_study(request_.out);
    check(before.data_hash == study_.data_hash && before.model == study_.model && before.options == study_.options,
          ErrorKind::invalid_argument, request_.out.string(), "the folder holds a study of other {}; give another --out",
          before.data_hash != study_.data_hash ? "data"
          : before.model != study_.model       ? "model"
                                               : "options");
    study_.runs = std::move(before.runs);
  }
  fs::create_directories(request_.out);
  save_study(request_.out, study_);
}

Run Runner::key(const std::string& method, double rate, int64_t seed, RunPhase phase) const {
  Run run;
  run.method = method;
  run.learning_rate = rate;
  run.seed = seed;
  run.phase = phase;
  return run;
}

train::TrainRequest Runner::train_request(const Run& run) const {
  train::TrainRequest request{.model = request_.model, .split = request_.split, .method = run.method};
  request.options = request_.train;
  request.options.learning_rate = run.learning_rate;
  request.options.seed = run.seed;
  if (run.method != "none" && run.method != "full") {
    request.adapter = request_.adapter_for(run.method);
    request.adapter->seed = static_cast<uint64_t>(run.seed);
  }
  request.stop = request_.stop;
  if (request_.progress) {
    request.progress = [this, name = run_name(run)](Progress progress) {
      progress.stage = fmt::format("[{}/{}] {} {}", done_ + 1, total_, name, progress.stage);
      request_.progress(progress);
    };
  }
  return request;
}

void Runner::note(const Run& run) {
  ++done_;
  if (request_.on_run) request_.on_run(run, done_, total_);
}

bool Runner::run_once(Run run) {
  if (const Run* found = find_run(study_, run); found != nullptr && found->status == RunStatus::ok) {
    note(*found);
    return true;
  }
  std::erase_if(study_.runs, [&](const Run& other) { return run_name(other) == run_name(run); });
  try {
    train_into(run);
    if (run.status == RunStatus::interrupted) return false;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::cancelled) return false;
    run.status = RunStatus::failed;
    run.error = error.what();
  } catch (const std::exception& error) {
    run.status = RunStatus::failed;
    run.error = error.what();
  }
  if (run.status == RunStatus::failed) log(LogLevel::warning, "compare", fmt::format("{} failed: {}", run_name(run), run.error));
  save_run(request_.out, run);
  study_.runs.push_back(run);
  note(run);
  return true;
}

void Runner::train_into(Run& run) {
  const train::TrainRequest request = train_request(run);
  const auto found = searched_.find(run_name(run));
  train::TrainResult result = found == searched_.end() ? train::train(request) : std::move(found->second);
  if (found != searched_.end()) searched_.erase(found);
  if (result.outcome == train::Outcome::cancelled) {
    run.status = RunStatus::interrupted;
    return;
  }
  for (const auto& point : result.validations) {
    run.curve.push_back({.step = point.step,
                         .epoch = point.epoch,
                         .seconds = point.seconds,
                         .train_loss = point.train_loss,
                         .validation_loss = point.loss,
                         .validation_score = point.score});
  }
  run.best_step = result.best >= 0 ? result.validations[static_cast<size_t>(result.best)].step : result.steps;
  run.seconds = result.seconds;
  run.units = result.units;
  run.peak_bytes = result.peak_bytes;
  run.trainable_parameters = result.trained_parameters;
  run.adapter_bytes = 4 * result.trained_parameters;
  run.options_hash = sha256_hex(format_json_line(study_.options)).substr(0, 16);
  if (run.phase == RunPhase::final) {
    test_into(run, result);
    keep(run, request, result);
  } else {
    // The final run of this rate and seed would compute the very same: it is kept, and tested only if this rate is chosen.
    searched_.emplace(run_name(key(run.method, run.learning_rate, run.seed, RunPhase::final)), std::move(result));
  }
}

void Runner::test_into(Run& run, train::TrainResult& result) {
  const data::Dataset& rows = request_.split->test;
  models::Model& model = *result.trainee.model;
  const evaluate::ForwardOptions options{.stop = request_.stop};
  run.predicted = evaluate::score(rows, evaluate::outputs_of(model, rows, options)).predicted;
  score_predictions(run, study_.test_labels);
  const at::Tensor adapted = evaluate::embeddings_of(model, rows, pooling_, /*normalise=*/true, options);
  const evaluate::SimilarityDrift drift = evaluate::similarity_drift(original_, adapted);
  run.forgetting = {drift.rank_agreement, drift.similarity_shift};
  if (request_.robustness) run.under = evaluate::scores_under_change(model, rows, options);
}

void Runner::keep(const Run& run, const train::TrainRequest& request, const train::TrainResult& result) {
  const bool wanted = request_.options.keep == "all" || (request_.options.keep == "first" && run.seed == request_.train.seed);
  if (!wanted) return;
  const fs::path folder = request_.out / "results" / run_name(run);
  fs::create_directories(folder);
  train::save_result(folder, request_.model, result.trainee, train::describe(request, result.trainee, result.to_json()));
}

bool Runner::search(const std::string& method) {
  for (int64_t s = 0; s < request_.options.search_seeds; ++s) {
    for (const double factor : request_.options.rate_factors) {
      if (stopped() || !run_once(key(method, rate_of(method, factor), request_.train.seed + s, RunPhase::search))) return false;
      // Only the rate that leads so far may be needed again: the other models are let go.
      const auto best = choose_learning_rate(study_, method);
      std::erase_if(searched_, [&](const auto& entry) {
        return !best || entry.first != run_name(key(method, *best, request_.train.seed + s, RunPhase::final));
      });
    }
  }
  return true;
}

bool Runner::test(const std::string& method, double rate) {
  for (int64_t s = 0; s < request_.options.seeds; ++s) {
    if (stopped() || !run_once(key(method, rate, request_.train.seed + s, RunPhase::final))) return false;
  }
  return true;
}

bool Runner::compare_method(const std::string& method) {
  if (!search(method)) return false;
  const auto rate = choose_learning_rate(study_, method);
  if (rate) return test(method, *rate);
  log(LogLevel::warning, "compare", fmt::format("no search run of {} ended well: it is left out", method));
  done_ += request_.options.seeds;
  return true;
}

CompareResult Runner::go() {
  open_study();
  {
    const auto untouched = models::load_model(request_.model, {});
    original_ = evaluate::embeddings_of(*untouched, request_.split->test, pooling_, /*normalise=*/true, {.stop = request_.stop});
  }
  bool complete = true;
  for (const auto& method : request_.options.methods) {
    searched_.clear();
    if (!compare_method(method)) {
      complete = false;
      break;
    }
  }
  return {std::move(study_), complete};
}

}  // namespace

void declare(OptionTable& table, CompareOptions& options) {
  const std::string group = "Comparison";
  table.add("methods", options.methods, "methods to compare; none: the head alone, full: all weights").group(group);
  table.add("rate-factors", options.rate_factors, "learning rates tried: each method's own times these").range(1e-6, 1e6).group(group);
  table.add("seeds", options.seeds, "tested runs of each method").range(1, 1000).group(group);
  table.add("search-seeds", options.search_seeds, "seeds that search for the learning rate").range(1, 1000).group(group);
  table.add("reference", options.reference, "method that the others are compared with").group(group);
  table.add("keep", options.keep, "trained results left on disk: of each method's first seed, all, or none")
      .choices({"first", "all", "none"})
      .group(group);
}

CompareResult compare(const CompareRequest& request) { return Runner(request).go(); }

fs::path kept_result(const fs::path& out, const Run& run) {
  for (const char* kind : {"adapter", "model"}) {
    const fs::path folder = out / "results" / run_name(run) / kind;
    if (fs::exists(folder)) return folder;
  }
  return {};
}

}  // namespace lowrank::study
