#include "lowrank/train/trainer.h"

#include <ATen/Parallel.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <chrono>
#include <cmath>
#include <numeric>

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/hash.h"
#include "lowrank/base/log.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/evaluate/scores.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/load.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/adamw.h"
#include "lowrank/train/metrics.h"
#include "lowrank/train/run_folder.h"
#include "lowrank/train/save.h"
#include "lowrank/train/schedule.h"
#include "lowrank/train/validation.h"

namespace lowrank::train {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// One forward and backward pass: a step has one, or more when gradients are accumulated.
struct Pass {
  data::Batch batch;
  std::vector<int64_t> rows;  // places in the training rows
};

/// Which rows each step trains on, as a function of the step alone.
class RowPlan {
 public:
  RowPlan(const data::Dataset& train, const TrainOptions& options)
      : train_(train),
        pass_(static_cast<size_t>(options.batch_size)),
        per_step_(options.batch_size * options.gradient_accumulation),
        batcher_(train, {.batch_size = per_step_, .seed = static_cast<uint64_t>(options.seed)}) {}

  int64_t steps_per_epoch() const { return batcher_.batches_per_epoch(); }

  std::vector<Pass> passes(int64_t step) {
    const int64_t epoch = step / steps_per_epoch(), begin = step % steps_per_epoch() * per_step_;
    if (epoch != epoch_) order_ = batcher_.order(epoch_ = epoch);
    const auto rows = std::span(order_).subspan(static_cast<size_t>(begin));
    std::vector<Pass> passes;
    const size_t end = std::min(rows.size(), static_cast<size_t>(per_step_));
    for (size_t first = 0; first < end; first += pass_) {
      const auto part = rows.subspan(first, std::min(pass_, end - first));
      passes.push_back({data::collate(train_, part), {part.begin(), part.end()}});
    }
    return passes;
  }

 private:
  const data::Dataset& train_;
  size_t pass_;
  int64_t per_step_;
  data::Batcher batcher_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;
};

class Run {
 public:
  explicit Run(const TrainRequest& request);
  TrainResult go();

 private:
  void step();
  void validate();
  void save_checkpoint();
  void restore();
  TrainResult finish(Outcome outcome);
  Json make_identity() const;
  [[noreturn]] void refuse_non_finite(double loss);
  at::Tensor outputs(const Pass& pass) const;
  bool validation_due() const;
  bool is_over() const { return state_.step >= total_ || stopped_early(); }
  bool stopped_early() const;
  double epoch() const { return static_cast<double>(state_.step) / static_cast<double>(rows_.steps_per_epoch()); }
  void after_batch(const Progress& progress) const;
  void report(double norm, double rate, int64_t tokens, double seconds);
  double seconds_left() const;

  const TrainRequest& request_;
  const TrainOptions& options_;
  std::unique_ptr<RunFolder> folder_;  // none: nothing is written
  Trainee trainee_;
  Objective objective_;
  MemoryPlan plan_;
  FlatParameters parameters_;
  AdamW optimizer_;
  RowPlan rows_;
  double rate_;               // peak learning rate
  int64_t total_, interval_;  // optimiser steps, and those between validations
  Schedule schedule_;
  ProgressSink progress_;  // of validation and encoding
  Validator validator_;
  at::Tensor features_;  // method none: the frozen encoder's first states of all training rows [n, D]
  Json identity_;        // what a resumed run must share
  TrainState state_;
  std::optional<MetricsWriter> metrics_;
  double saved_at_ = now(), step_seconds_ = 0, recent_step_ = 0, recent_validation_ = 0;
  int64_t session_tokens_ = 0;
};

int64_t total_steps(const RowPlan& rows, const TrainOptions& options) {
  const int64_t all = rows.steps_per_epoch() * options.epochs;
  return options.max_steps > 0 ? std::min(all, options.max_steps) : all;
}

int64_t validation_interval(const RowPlan& rows, const TrainOptions& options, int64_t total) {
  if (options.validate_every == 0) return total;
  return std::max<int64_t>(1, std::llround(options.validate_every * static_cast<double>(rows.steps_per_epoch())));
}

std::unique_ptr<RunFolder> open_folder(const TrainRequest& request) {
  return request.out.empty() ? nullptr : std::make_unique<RunFolder>(request.out, request.resume);
}

Run::Run(const TrainRequest& request)
    : request_(request),
      options_(request.options),
      folder_(open_folder(request)),
      trainee_(make_trainee(request)),
      objective_(request.split->train),
      plan_(plan_memory(trainee_, *request.split, options_)),
      parameters_(trainee_.parameters),
      optimizer_(parameters_, {.weight_decay = options_.weight_decay}),
      rows_(request.split->train, options_),
      rate_(options_.learning_rate > 0 ? options_.learning_rate : default_learning_rate(trainee_.method)),
      total_(total_steps(rows_, options_)),
      interval_(validation_interval(rows_, options_, total_)),
      schedule_{options_.schedule, warmup_steps(options_.warmup_fraction, total_), total_},
      progress_([this](const Progress& progress) { after_batch(progress); }),
      validator_(trainee_, objective_, request.split->validation, progress_) {
  check(!objective_.is_ranking() || options_.gradient_accumulation == 1, ErrorKind::invalid_argument, "gradient-accumulation",
        "expected 1 for text pairs without values, got {}: each text is compared with the others of its batch",
        options_.gradient_accumulation);
  if (folder_ && trainee_.adapters) adapters::check_peft(*trainee_.adapters);
  require_memory(plan_, tensor::available_bytes(), options_);
  if (trainee_.method == "none") features_ = frozen_features(trainee_, request.split->train, progress_);
  if (request.split->validation.size() == 0) {
    log(LogLevel::warning, "train", "no validation rows: the last step counts as the best");
  }
  if (!folder_) return;
  identity_ = make_identity();
  restore();
  metrics_.emplace(folder_->path(), state_.step);
  write_file_atomic(folder_->path() / "options.json", format_json(describe(request_, trainee_, Json::object())));
}

void Run::restore() {
  if (!folder_->has_checkpoint()) return;
  state_ = load_checkpoint(folder_->checkpoint(), identity_);
  parameters_.assign(state_.values);
  optimizer_.restore(state_.m, state_.v, state_.step);
  log(LogLevel::info, "train", fmt::format("going on after step {} of {}", state_.step, total_));
}

TrainResult Run::go() {
  tensor::reset_peak_resident();
  while (true) {
    try {
      if (validation_due()) validate();
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

  // 1. Batch: its rows, cut into passes that fit in memory.
  const std::vector<Pass> passes = rows_.passes(state_.step);
  double weight = 0;
  int64_t tokens = 0;
  for (const Pass& pass : passes) {
    weight += objective_.weight(pass.batch);
    tokens += pass.batch.tokens();
  }

  at::Tensor loss = at::zeros({}, parameters_.values().options());
  for (const Pass& pass : passes) {
    // 2. Forward: the pass's share of the loss of the whole batch.
    const at::Tensor share = objective_.sum(outputs(pass), pass.batch) / weight;
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
  state_.tokens += tokens;
  state_.loss = value;

  // 6. Report.
  report(norm, rate, tokens, now() - start);
}

at::Tensor Run::outputs(const Pass& pass) const {
  if (features_.defined())
    return trainee_.model->classify(features_.index_select(0, at::tensor(pass.rows, at::kLong).to(features_.device())));
  nn::Packed packed = evaluate::to_packed(pass.batch, parameters_.values().device());
  if (trainee_.has_dropout()) packed.keys = row_keys(pass.batch, options_.seed, state_.step);
  return trainee_.outputs(packed);
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
  if (!validator_.has_rows() || state_.step == 0) return false;
  if (state_.step % interval_ != 0 && state_.step != total_) return false;
  return state_.validations.empty() || state_.validations.back().step != state_.step;
}

void Run::validate() {
  const double start = now();
  tensor::return_free_memory();  // what training left is cut for other sizes
  Validation result = validator_.run(request_.stop);
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
  const Json line = {{"event", "validation"}, {"step", result.step},   {"epoch", result.epoch},
                     {"loss", result.loss},   {"score", result.score}, {"score_name", validator_.score_name()},
                     {"best", better},        {"time", unix_time()}};
  if (metrics_) metrics_->write(line);
  if (request_.metrics) request_.metrics(line);
}

void Run::after_batch(const Progress& progress) const {
  keep_to(plan_);
  if (request_.progress) request_.progress(progress);
}

bool Run::stopped_early() const {
  return options_.patience > 0 && state_.best >= 0 &&
         static_cast<int64_t>(state_.validations.size()) - 1 - state_.best >= options_.patience;
}

void Run::report(double norm, double rate, int64_t tokens, double seconds) {
  state_.seconds += seconds;
  step_seconds_ += seconds;
  session_tokens_ += tokens;
  recent_step_ = recent_step_ == 0 ? seconds : 0.95 * recent_step_ + 0.05 * seconds;
  keep_to(plan_);
  if (!metrics_ && !request_.metrics && !request_.progress) return;
  const int64_t peak = tensor::peak_resident_bytes();
  const Json line = {{"event", "step"},         {"step", state_.step},
                     {"epoch", epoch()},        {"loss", state_.loss},
                     {"learning_rate", rate},   {"grad_norm", norm},
                     {"tokens", state_.tokens}, {"tokens_per_second", static_cast<double>(tokens) / seconds},
                     {"peak_bytes", peak},      {"time", unix_time()}};
  if (metrics_) metrics_->write(line);
  if (request_.metrics) request_.metrics(line);
  if (!request_.progress) return;
  Progress progress{"train", state_.step, total_, "steps", {{"loss", fmt::format("{:.4f}", state_.loss)}}};
  if (!state_.validations.empty()) {
    const Validation& last = state_.validations.back();
    progress.figures.emplace_back("validation", fmt::format("{} {:.4f}, loss {:.4f}", validator_.score_name(), last.score, last.loss));
  }
  progress.figures.emplace_back("rate", fmt::format("{:.2e}", rate));
  progress.figures.emplace_back("tokens/s", fmt::format("{:.0f}", static_cast<double>(session_tokens_) / step_seconds_));
  progress.figures.emplace_back("memory", fmt::format("{} MB", peak >> 20));
  const auto left = static_cast<int64_t>(seconds_left());
  progress.figures.emplace_back("left", fmt::format("{}:{:02}", left / 60, left % 60));
  request_.progress(progress);
}

double Run::seconds_left() const {
  const int64_t steps = total_ - state_.step, looks = validator_.has_rows() ? (steps + interval_ - 1) / interval_ : 0;
  return static_cast<double>(steps) * recent_step_ + static_cast<double>(looks) * recent_validation_;
}

Json Run::make_identity() const {
  Json identity = numeric_options(options_);
  identity["learning-rate"] = rate_;
  identity["dtype"] = tensor::dtype_name(trainee_.model->parameters().front().scalar_type());
  identity["device"] = parameters_.values().device().str();
  identity["method"] = trainee_.method;
  if (trainee_.adapters) identity["adapter"] = trainee_.adapters->config.to_json();
  identity["model"] = model_fingerprint(request_.model);
  identity["data"] = data_fingerprint(*request_.split);
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

TrainResult Run::finish(Outcome outcome) {
  if (folder_) save_checkpoint();
  if (outcome != Outcome::cancelled && state_.best_values.defined()) parameters_.assign(state_.best_values);
  TrainResult result{.outcome = outcome,
                     .score_name = validator_.score_name(),
                     .validations = state_.validations,
                     .best = state_.best,
                     .steps = state_.step,
                     .tokens = state_.tokens,
                     .loss = state_.loss,
                     .seconds = state_.seconds,
                     .tokens_per_second = step_seconds_ > 0 ? static_cast<double>(session_tokens_) / step_seconds_ : 0,
                     .peak_bytes = tensor::peak_resident_bytes(),
                     .trained_parameters = parameters_.count(),
                     .learning_rate = rate_,
                     .plan = plan_};
  if (folder_ && outcome != Outcome::cancelled) {
    Json facts = {{"steps", result.steps}, {"learning_rate", rate_}, {"trained_parameters", result.trained_parameters}};
    if (result.best >= 0) {
      const Validation& best = result.validations[static_cast<size_t>(result.best)];
      facts.update({{"best_step", best.step}, {"validation_loss", best.loss}, {result.score_name, best.score}});
    }
    result.saved = save_result(folder_->path(), request_.model, trainee_, describe(request_, trainee_, facts));
    write_file_atomic(folder_->path() / "result.json", format_json(result.to_json()));
    std::filesystem::remove(folder_->checkpoint());
  }
  parameters_.release();
  result.trainee = std::move(trainee_);
  return result;
}

}  // namespace

TrainResult train(const TrainRequest& request) { return Run(request).go(); }

MemoryPlan plan(const TrainRequest& request) { return plan_memory(make_trainee(request), *request.split, request.options); }

}  // namespace lowrank::train
