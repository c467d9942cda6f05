#include "lowrank/train/trainer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/hash.h"
#include "lowrank/base/log.h"
#include "lowrank/tensor/load.h"
#include "lowrank/tensor/memory.h"
#include "lowrank/train/adamw.h"
#include "lowrank/train/checkpoint.h"
#include "lowrank/train/metrics.h"
#include "lowrank/train/schedule.h"

namespace lowrank::train {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// While it lives, the parameters are the average, if there is one.
class AveragedValues {
 public:
  AveragedValues(FlatParameters& parameters, const at::Tensor& average) : parameters_(parameters) {
    if (!average.defined()) return;
    own_ = parameters.values().clone();
    parameters_.assign(average);
  }
  ~AveragedValues() {
    if (own_.defined()) parameters_.assign(own_);
  }
  AveragedValues(const AveragedValues&) = delete;
  AveragedValues& operator=(const AveragedValues&) = delete;

 private:
  FlatParameters& parameters_;
  at::Tensor own_;
};

class Run {
 public:
  Run(Job& job, const RunRequest& request, const RunFolder* folder);
  RunResult go();

 private:
  void step();
  void validate();
  void draw_samples();
  void update_average();
  void save_checkpoint();
  void restore();
  RunResult finish(Outcome outcome);
  RunResult result_of(Outcome outcome) const;
  void write_result(RunResult& result);
  Json make_identity() const;
  [[noreturn]] void refuse_non_finite(double loss);
  bool validation_due() const;
  bool samples_due() const;
  bool is_over() const { return state_.step >= total_ || stopped_early(); }
  bool stopped_early() const;
  double epoch() const { return static_cast<double>(state_.step) / static_cast<double>(job_.steps_per_epoch()); }
  void after_batch(const Progress& progress) const;
  void report(double norm, double rate, int64_t units, double seconds);
  void show_progress(double rate, int64_t peak) const;
  double units_per_second() const { return step_seconds_ > 0 ? static_cast<double>(session_units_) / step_seconds_ : 0; }
  double seconds_left() const;

  Job& job_;
  const RunRequest& request_;
  const TrainOptions& options_;
  const RunFolder* folder_;  // null: nothing is written
  MemoryPlan plan_;
  FlatParameters parameters_;
  AdamW optimizer_;
  double rate_;                                 // peak learning rate
  int64_t total_, interval_, sample_interval_;  // optimiser steps, those between validations, those between samples
  Schedule schedule_;
  ProgressSink progress_;  // of preparation, validation and samples
  Json identity_;          // what a resumed run must share
  TrainState state_;
  std::optional<MetricsWriter> metrics_;
  double saved_at_ = now(), step_seconds_ = 0, recent_step_ = 0, recent_validation_ = 0, recent_samples_ = 0;
  int64_t session_units_ = 0;
};

int64_t total_steps(const Job& job, const TrainOptions& options) {
  const int64_t all = job.steps_per_epoch() * options.epochs;
  return options.max_steps > 0 ? std::min(all, options.max_steps) : all;
}

int64_t validation_interval(const Job& job, const TrainOptions& options, int64_t total) {
  if (options.validate_every == 0) return total;
  return std::max<int64_t>(1, std::llround(options.validate_every * static_cast<double>(job.steps_per_epoch())));
}

Run::Run(Job& job, const RunRequest& request, const RunFolder* folder)
    : job_(job),
      request_(request),
      options_(request.options),
      folder_(folder),
      plan_(plan_memory(job)),
      parameters_(job.parameters()),
      optimizer_(parameters_, {.weight_decay = options_.weight_decay}),
      rate_(options_.learning_rate > 0 ? options_.learning_rate : job.default_learning_rate()),
      total_(total_steps(job, options_)),
      interval_(validation_interval(job, options_, total_)),
      sample_interval_(folder == nullptr ? 0 : job.sample_interval()),
      schedule_{options_.schedule, warmup_steps(options_.warmup_fraction, total_), total_},
      progress_([this](const Progress& progress) { after_batch(progress); }) {
  if (options_.ema > 0) plan_.optimiser += 2 * static_cast<int64_t>(parameters_.values().nbytes());  // the average, and a copy
  require_memory(plan_, tensor::available_bytes(plan_.device), options_);
  job_.prepare(progress_);
  if (!job_.has_validation()) log(LogLevel::warning, "train", "no validation rows: the last step counts as the best");
  if (folder_ == nullptr) return;
  identity_ = make_identity();
  restore();
  metrics_.emplace(folder_->path(), state_.step);
  write_file_atomic(folder_->path() / "options.json", format_json(job_.describe(Json::object())));
}

void Run::restore() {
  if (!folder_->has_checkpoint()) return;
  state_ = load_checkpoint(folder_->checkpoint(), identity_);
  if (state_.average.defined()) state_.average = state_.average.to(parameters_.values().device());
  parameters_.assign(state_.values);
  optimizer_.restore(state_.m, state_.v, state_.step);
  log(LogLevel::info, "train", fmt::format("going on after step {} of {}", state_.step, total_));
}

RunResult Run::go() {
  tensor::reset_peak(plan_.device);
  while (true) {
    try {
      if (validation_due()) validate();
      if (samples_due()) draw_samples();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::cancelled) throw;
    }
    if (request_.stop != nullptr && request_.stop->requested()) return finish(Outcome::cancelled);
    if (is_over()) return finish(state_.step < total_ ? Outcome::early_stopped : Outcome::finished);
    step();
    if (folder_ && now() - saved_at_ >= options_.save_every) save_checkpoint();
  }
}

void Run::step() {
  const double start = now();

  // 1. Batch: its items, cut into passes that fit in memory.
  const std::vector<Pass> passes = job_.passes(state_.step);
  double weight = 0;
  int64_t units = 0;
  for (const Pass& pass : passes) {
    weight += pass.weight;
    units += pass.units;
  }

  at::Tensor loss = at::zeros({}, parameters_.values().options());
  for (const Pass& pass : passes) {
    // 2. Forward: the pass's share of the loss of the whole batch.
    const at::Tensor share = job_.loss(pass, state_.step) / weight;
    // 3. Backward, into the one gradient buffer.
    share.backward();
    parameters_.gather();
    loss += share.detach();
  }

  // 4. Check finite, before anything changes.
  const double norm = length(parameters_.gradients()), value = loss.item<double>();
  if (!std::isfinite(norm) || !std::isfinite(value)) refuse_non_finite(value);

  // 5. Step.
  const double rate = rate_ * schedule_.factor(state_.step);
  optimizer_.step(rate, clip_factor(norm, options_.max_grad_norm));
  ++state_.step;
  update_average();
  state_.units += units;
  state_.loss = value;

  // 6. Report.
  report(norm, rate, units, now() - start);
}

/// a ← d·a + (1 − d)·θ, d = min(ema, (1 + step)/(10 + step)) so that the start is soon forgotten.
void Run::update_average() {
  if (options_.ema == 0) return;
  const auto step = static_cast<double>(state_.step);
  if (!state_.average.defined()) state_.average = parameters_.values().clone();
  state_.average.lerp_(parameters_.values(), 1 - std::min(options_.ema, (1 + step) / (10 + step)));
}

void Run::refuse_non_finite(double loss) {
  const std::string culprit = parameters_.first_non_finite();
  if (folder_) save_checkpoint();
  fail(ErrorKind::invalid_argument, "train",
       fmt::format("step {}: expected a finite loss and gradient, got loss {}{}{}", state_.step + 1, loss,
                   culprit.empty() ? "" : ", not finite first: ", culprit),
       fmt::format("lower --learning-rate (it is {}){}", rate_,
                   folder_ ? fmt::format("; the state before this step is in {}", folder_->checkpoint().string()) : ""));
}

bool Run::validation_due() const {
  if (!job_.has_validation() || state_.step == 0) return false;
  if (state_.step % interval_ != 0 && state_.step != total_) return false;
  return state_.validations.empty() || state_.validations.back().step != state_.step;
}

void Run::validate() {
  const double start = now();
  tensor::return_free_memory();  // what training left is cut for other sizes
  const AveragedValues averaged(parameters_, state_.average);
  Validation result = [&] {
    const at::NoGradGuard no_grad;
    return job_.validate(request_.stop, progress_);
  }();
  result.step = state_.step;
  result.epoch = epoch();
  result.train_loss = state_.loss;
  result.seconds = state_.seconds;
  state_.validations.push_back(result);
  const bool better = state_.best < 0 || is_better(result, state_.validations[static_cast<size_t>(state_.best)], options_.best_by);
  if (better) {
    state_.best = static_cast<int64_t>(state_.validations.size()) - 1;
    state_.best_values = parameters_.values().clone();
  }
  tensor::return_free_memory();
  recent_validation_ = now() - start;
  state_.seconds += recent_validation_;
  Json line = result.figures;
  line.update({{"event", "validation"},
               {"step", result.step},
               {"epoch", result.epoch},
               {"loss", result.loss},
               {"score", result.score},
               {"score_name", job_.score_name()},
               {"best", better},
               {"time", unix_time()}});
  if (metrics_) metrics_->write(line);
  if (request_.metrics) request_.metrics(line);
}

bool Run::samples_due() const { return sample_interval_ > 0 && (state_.step % sample_interval_ == 0 || is_over()); }

/// Not in state_: a run may go on with other samples than it began with.
void Run::draw_samples() {
  const double start = now();
  tensor::return_free_memory();
  const AveragedValues averaged(parameters_, state_.average);
  const at::NoGradGuard no_grad;
  job_.draw_samples(state_.step, is_over(), request_.stop, progress_);
  tensor::return_free_memory();
  recent_samples_ = now() - start;
}

void Run::after_batch(const Progress& progress) const {
  keep_to(plan_);
  if (request_.progress) request_.progress(progress);
}

bool Run::stopped_early() const {
  return options_.patience > 0 && state_.best >= 0 &&
         static_cast<int64_t>(state_.validations.size()) - 1 - state_.best >= options_.patience;
}

void Run::report(double norm, double rate, int64_t units, double seconds) {
  state_.seconds += seconds;
  step_seconds_ += seconds;
  session_units_ += units;
  recent_step_ = recent_step_ == 0 ? seconds : 0.95 * recent_step_ + 0.05 * seconds;
  keep_to(plan_);
  if (!metrics_ && !request_.metrics && !request_.progress) return;
  const int64_t peak = tensor::peak_bytes(plan_.device);
  const Json line = {{"event", "step"},           {"step", state_.step},
                     {"epoch", epoch()},          {"loss", state_.loss},
                     {"learning_rate", rate},     {"grad_norm", norm},
                     {job_.unit(), state_.units}, {job_.unit() + "_per_second", static_cast<double>(units) / seconds},
                     {"peak_bytes", peak},        {"time", unix_time()}};
  if (metrics_) metrics_->write(line);
  if (request_.metrics) request_.metrics(line);
  if (request_.progress) show_progress(rate, peak);
}

void Run::show_progress(double rate, int64_t peak) const {
  Progress progress{"train", state_.step, total_, "steps", {{"loss", fmt::format("{:.4f}", state_.loss)}}};
  if (!state_.validations.empty()) {
    const Validation& last = state_.validations.back();
    const std::string score = job_.score_name().empty() ? "" : fmt::format("{} {:.4f}, ", job_.score_name(), last.score);
    progress.figures.emplace_back("validation", fmt::format("{}loss {:.4f}", score, last.loss));
  }
  progress.figures.emplace_back("rate", fmt::format("{:.2e}", rate));
  progress.figures.emplace_back(job_.unit() + "/s", fmt::format("{:.0f}", units_per_second()));
  progress.figures.emplace_back("memory", fmt::format("{} MB", peak >> 20));
  const auto left = static_cast<int64_t>(seconds_left());
  progress.figures.emplace_back("left", fmt::format("{}:{:02}", left / 60, left % 60));
  request_.progress(progress);
}

double Run::seconds_left() const {
  const int64_t steps = total_ - state_.step, looks = job_.has_validation() ? (steps + interval_ - 1) / interval_ : 0;
  const int64_t drawings = sample_interval_ > 0 ? (steps + sample_interval_ - 1) / sample_interval_ : 0;
  return static_cast<double>(steps) * recent_step_ + static_cast<double>(looks) * recent_validation_ +
         static_cast<double>(drawings) * recent_samples_;
}

Json Run::make_identity() const {
  Json identity = numeric_options(options_);
  identity["learning-rate"] = rate_;
  identity["device"] = parameters_.values().device().str();
  identity.update(job_.identity());
  std::string layout;
  for (const auto& entry : parameters_.entries()) layout += entry.name + tensor::shape_text(entry.value.sizes());
  identity["trained tensors"] = sha256_hex(layout);
  return identity;
}

void Run::save_checkpoint() {
  state_.values = parameters_.values();
  state_.m = optimizer_.m();
  state_.v = optimizer_.v();
  train::save_checkpoint(folder_->checkpoint(), state_, identity_);
  saved_at_ = now();
}

RunResult Run::finish(Outcome outcome) {
  if (folder_ != nullptr) save_checkpoint();
  const at::Tensor& best = state_.best_values.defined() ? state_.best_values : state_.average;
  if (outcome != Outcome::cancelled && best.defined()) parameters_.assign(best);
  RunResult result = result_of(outcome);
  if (folder_ != nullptr && outcome != Outcome::cancelled) write_result(result);
  parameters_.release();
  return result;
}

RunResult Run::result_of(Outcome outcome) const {
  return {.outcome = outcome,
          .score_name = job_.score_name(),
          .validations = state_.validations,
          .best = state_.best,
          .steps = state_.step,
          .unit = job_.unit(),
          .units = state_.units,
          .loss = state_.loss,
          .seconds = state_.seconds,
          .units_per_second = units_per_second(),
          .peak_bytes = tensor::peak_bytes(plan_.device),
          .trained_parameters = parameters_.count(),
          .learning_rate = rate_,
          .plan = plan_,
          .notes = job_.notes()};
}

void Run::write_result(RunResult& result) {
  Json facts = {{"steps", result.steps}, {"learning_rate", rate_}, {"trained_parameters", result.trained_parameters}};
  if (result.best >= 0) {
    const Validation& best = result.validations[static_cast<size_t>(result.best)];
    facts.update({{"best_step", best.step}, {"validation_loss", best.loss}});
    if (!result.score_name.empty()) facts[result.score_name] = best.score;
  }
  const FlatParameters::Widened widened(parameters_);
  result.saved = job_.save(folder_->path(), job_.describe(facts));
  write_file_atomic(folder_->path() / "result.json", format_json(result.to_json()));
  std::filesystem::remove(folder_->checkpoint());
}

}  // namespace

RunResult run(Job& job, const RunRequest& request, const RunFolder* folder) { return Run(job, request, folder).go(); }

bool is_better(const Validation& a, const Validation& b, const std::string& best_by) {
  if (best_by == "score" && a.score != b.score) return a.score > b.score;
  return a.loss < b.loss;
}

}  // namespace lowrank::train
