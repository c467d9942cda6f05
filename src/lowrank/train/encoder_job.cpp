#include "lowrank/train/encoder_job.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <algorithm>

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/base/error.h"
#include "lowrank/data/images/picture_rows.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/parallel.h"
#include "lowrank/train/save.h"

namespace lowrank::train {

namespace {

data::BatchOptions step_batches(const TrainOptions& options) {
  return {.batch_size = options.batch_size * options.gradient_accumulation, .seed = static_cast<uint64_t>(options.seed)};
}

int64_t tokens_of(const data::Dataset& dataset, std::span<const int64_t> indices) {
  int64_t tokens = 0;
  for (const int64_t index : indices) tokens += dataset.examples[static_cast<size_t>(index)].length();
  return tokens;
}

/// `indices` in runs of at most `size`.
template <class F>
void for_each_pass(std::span<const int64_t> indices, int64_t size, F&& take) {
  for (size_t begin = 0; begin < indices.size(); begin += static_cast<size_t>(size)) {
    take(indices.subspan(begin, std::min(static_cast<size_t>(size), indices.size() - begin)));
  }
}

}  // namespace

EncoderJob::EncoderJob(const TrainRequest& request)
    : request_(request),
      trainee_(make_trainee(request)),
      objective_(request.split->train, request.options.label_smoothing),
      batcher_(request.split->train, step_batches(request.options)),
      validator_(trainee_, objective_, request.split->validation) {
  check(!objective_.is_ranking() || request.options.gradient_accumulation == 1, ErrorKind::invalid_argument, "gradient-accumulation",
        "expected 1 for text pairs without values, got {}: each text is compared with the others of its batch",
        request.options.gradient_accumulation);
  if (!request.out.empty() && trainee_.adapters) adapters::check_peft(*trainee_.adapters);
}

Pass EncoderJob::pass_of(std::span<const int64_t> rows) const {
  return {.items = {rows.begin(), rows.end()},
          .weight = objective_.weight(static_cast<int64_t>(rows.size())),
          .units = units_of(request_.split->train, rows)};
}

std::vector<Pass> EncoderJob::passes(int64_t step) {
  const int64_t epoch = step / steps_per_epoch(), per_step = step_batches(request_.options).batch_size;
  if (epoch != epoch_) order_ = batcher_.order(epoch_ = epoch);
  const auto left = std::span(order_).subspan(static_cast<size_t>(step % steps_per_epoch() * per_step));
  std::vector<Pass> passes;
  for_each_pass(left.first(std::min(left.size(), static_cast<size_t>(per_step))), request_.options.batch_size,
                [&](auto rows) { passes.push_back(pass_of(rows)); });
  return passes;
}

at::Tensor EncoderJob::loss(const Pass& pass, int64_t step) {
  data::Batch batch = data::collate(request_.split->train, pass.items);
  if (features_.defined()) {
    const at::Tensor rows = at::tensor(pass.items, at::kLong).to(features_.device());
    return objective_.sum(trainee_.model->classify(features_.index_select(0, rows)), batch);
  }
  augment(batch, step / steps_per_epoch());
  return objective_.sum(trainee_.outputs(inputs(batch, step)), batch);
}

void EncoderJob::augment(data::Batch& batch, int64_t epoch) const {
  const data::AugmentOptions& how = request_.split->train.augment;
  if (!how.any()) return;
  const data::Dataset& rows = request_.split->train;
  const data::Size size{batch.width, batch.height};
  const auto each = static_cast<size_t>(3 * size.area());
  const auto seed = static_cast<uint64_t>(request_.options.seed);
  if (how.mix > 0) {
    batch.mixed_labels.resize(batch.samples.size());
    batch.mixed_shares.resize(batch.samples.size());
  }
  const auto change = [&](std::span<uint8_t> rgb, int64_t sample) {
    data::augment(rgb, size, how, seed, epoch, static_cast<uint64_t>(sample));
  };
  tensor::parallel_for(0, batch.size(), /*grain=*/1, [&](int64_t first, int64_t last) {
    std::vector<uint8_t> other(each);
    for (auto i = static_cast<size_t>(first); i < static_cast<size_t>(last); ++i) {
      const std::span<uint8_t> own = std::span(batch.pixels).subspan(i * each, each);
      change(own, batch.samples[i]);
      const data::Mixture mixture = data::mixture(how, rows.size(), seed, epoch, static_cast<uint64_t>(batch.samples[i]));
      if (mixture.share == 0) continue;
      const data::Example& with = rows.examples[static_cast<size_t>(mixture.row)];
      rows.pictures->read(mixture.row, other);
      change(other, with.id);
      data::blend(own, other, mixture.share);
      batch.mixed_labels[i] = with.labels.front();
      batch.mixed_shares[i] = mixture.share;
    }
  });
}

models::Batch EncoderJob::inputs(const data::Batch& batch, int64_t step) const {
  models::Batch inputs = evaluate::to_model(batch, *trainee_.model);
  if (trainee_.has_dropout()) {
    std::visit([&](auto& one) { one.keys = row_keys(batch, request_.options.seed, step); }, inputs);
  }
  return inputs;
}

int64_t EncoderJob::units_of(const data::Dataset& rows, std::span<const int64_t> places) const {
  return rows.pictures ? static_cast<int64_t>(places.size()) : tokens_of(rows, places);
}

/// The forward pass with most tokens, of all epochs.
std::vector<int64_t> EncoderJob::largest_pass() const {
  std::vector<int64_t> largest;
  for (int64_t epoch = 0, most = 0; epoch < request_.options.epochs; ++epoch) {
    const auto order = batcher_.order(epoch);
    for_each_pass(order, request_.options.batch_size, [&](auto rows) {
      const int64_t tokens = tokens_of(request_.split->train, rows);
      if (tokens <= most) return;
      most = tokens;
      largest.assign(rows.begin(), rows.end());
    });
  }
  return largest;
}

Probe EncoderJob::probe_of(const data::Dataset& rows, std::vector<int64_t> places, bool has_gradients) {
  Probe probe{
      .phase = has_gradients ? "training" : "validation", .rows = static_cast<int64_t>(places.size()), .has_gradients = has_gradients};
  const auto first = [places = std::move(places)](int64_t n) { return std::span(places).first(static_cast<size_t>(n)); };
  probe.units = [this, &rows, first](int64_t n) { return units_of(rows, first(n)); };
  if (has_gradients) {
    probe.run = [this, first](int64_t n) { loss(pass_of(first(n)), /*step=*/0).backward(); };
  } else {
    probe.run = [this, &rows, first](int64_t n) {
      const data::Batch batch = data::collate(rows, first(n));
      objective_.sum(trainee_.outputs(evaluate::to_model(batch, *trainee_.model)), batch);
    };
  }
  return probe;
}

std::vector<Probe> EncoderJob::probes() {
  const auto& [train, validation] = std::tie(request_.split->train, request_.split->validation);
  const bool frozen = keeps_features();  // the encoder sees evaluation batches alone, once
  std::vector<Probe> probes = {probe_of(train, largest_pass(), /*has_gradients=*/true)};
  if (frozen) probes.front().run = {};
  const data::Dataset& evaluated = frozen ? train : validation;
  if (evaluated.size() > 0) {
    // The longest sequences come first.
    probes.push_back(probe_of(evaluated, data::evaluation_batches(evaluated, kEvaluationTokens).front(), /*has_gradients=*/false));
  }
  return probes;
}

int64_t EncoderJob::prepared_bytes() const {
  if (trainee_.method != "none") return 0;
  return 4 * trainee_.model->width() * ((keeps_features() ? request_.split->train.size() : 0) + request_.split->validation.size());
}

void EncoderJob::prepare(const ProgressSink& progress) {
  if (trainee_.method != "none") return;
  if (keeps_features()) features_ = frozen_features(trainee_, request_.split->train, progress);
  validator_.prepare(progress);
}

Json EncoderJob::identity() const {
  Json identity = {{"dtype", tensor::dtype_name(trainee_.model->parameters().front().scalar_type())},
                   {"method", trainee_.method},
                   {"model", model_fingerprint(request_.model)},
                   {"data", data_fingerprint(*request_.split)}};
  if (trainee_.adapters) identity["adapter"] = trainee_.adapters->config.to_json();
  return identity;
}

Json EncoderJob::describe(const Json& result) const { return train::describe(request_, trainee_, result); }

std::filesystem::path EncoderJob::save(const std::filesystem::path& out, const Json& description) const {
  return save_result(out, request_.model, trainee_, description);
}

}  // namespace lowrank::train
