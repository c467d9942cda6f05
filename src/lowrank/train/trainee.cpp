#include "lowrank/train/trainee.h"

#include <algorithm>
#include <torch/csrc/autograd/autograd.h>

#include "lowrank/base/error.h"
#include "lowrank/base/log.h"
#include "lowrank/base/random.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/loss.h"

namespace lowrank::train {

namespace {

bool is_below(const std::string& name, const std::vector<std::string>& modules) {
  return std::ranges::any_of(modules, [&](const std::string& module) { return name.starts_with(module + "."); });
}

adapters::AdapterConfig config_for(const TrainRequest& request) {
  auto config = request.adapter ? *request.adapter : adapters::make_config(request.method);
  check(config.method->name() == request.method, ErrorKind::invalid_argument, "train", "expected a configuration of '{}', got one of '{}'",
        request.method, config.method->name());
  config.seed = static_cast<uint64_t>(request.options.seed);
  return config;
}

std::vector<Trainable> candidates(const Trainee& trainee) {
  std::vector<Trainable> found;
  if (trainee.adapters) {
    for (const auto& [name, tensor] : trainee.adapters->parameters()) found.push_back({name, tensor});
  }
  const bool everything = trainee.method == "full", has_head = trainee.model->head().kind != models::HeadKind::none;
  const auto heads = trainee.model->head_modules();
  for (const auto& parameter : trainee.model->named_parameters()) {
    if (everything || (has_head && is_below(parameter.key(), heads))) found.push_back({parameter.key(), parameter.value()});
  }
  return found;
}

/// Drops what the outputs do not depend on: weight decay would change it for nothing.
std::vector<Trainable> reached(const Trainee& trainee, std::vector<Trainable> parameters, const data::Dataset& train) {
  std::vector<at::Tensor> inputs;
  for (auto& parameter : parameters) inputs.push_back(parameter.tensor.requires_grad_(true));
  const auto batch = data::collate(train, std::vector<int64_t>{0});
  const at::Tensor total = trainee.outputs(evaluate::to_model(batch, *trainee.model)).sum();
  const auto gradients = torch::autograd::grad({total}, inputs, {}, /*retain_graph=*/false, /*create_graph=*/false, /*allow_unused=*/true);
  std::vector<Trainable> kept;
  std::vector<std::string> left;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (gradients[i].defined()) {
      kept.push_back(parameters[i]);
    } else {
      parameters[i].tensor.requires_grad_(false);
      left.push_back(parameters[i].name);
    }
  }
  if (!left.empty()) {
    log(LogLevel::warning, "train", fmt::format("the outputs do not depend on these, so they stay as they are: {}", fmt::join(left, ", ")));
  }
  return kept;
}

}  // namespace

at::Tensor Trainee::outputs(const models::Batch& batch) const {
  if (task != data::Task::embedding) return model->logits(batch);
  return models::embed(dynamic_cast<models::TextModel&>(*model), std::get<nn::Packed>(batch), pooling, /*normalise=*/true);
}

bool Trainee::has_dropout() const {
  return adapters && std::ranges::any_of(adapters->modules, [](const auto& module) { return module.adapter->has_dropout(); });
}

double default_learning_rate(const std::string& method) {
  if (method == "none") return 1e-3;
  return method == "full" ? 5e-5 : adapters::method_named(method).default_learning_rate();
}

Trainee make_trainee(const TrainRequest& request) {
  const data::Dataset& train = request.split->train;
  check(train.size() > 0, ErrorKind::invalid_argument, "train", "expected at least one training row, got none");
  const auto device = tensor::parse_device(request.options.device);
  Trainee trainee{.method = request.method, .task = train.task};
  trainee.model = models::load_model(request.model, head_for(*request.split, request.options.seed),
                                     tensor::compute_dtype(request.options.dtype, device));
  evaluate::check_reads(*trainee.model, train, "train");
  trainee.model->to(device);
  trainee.pooling = models::stored_pooling(request.model).first;
  if (request.method != "none" && request.method != "full") {
    trainee.adapters = adapters::attach(*trainee.model, config_for(request), trainee.model->head_modules());
  }
  auto parameters = candidates(trainee);
  check(!parameters.empty(), ErrorKind::invalid_argument, "train",
        "expected something to train, but method 'none' trains the head "
        "alone and {} has no head",
        data::to_string(train.task));
  trainee.parameters = reached(trainee, std::move(parameters), train);
  return trainee;
}

models::HeadOptions head_for(const data::Split& split, int64_t seed) {
  models::HeadOptions head{.labels = split.labels.names, .seed = static_cast<uint64_t>(seed)};
  switch (split.train.task) {
    case data::Task::single_label: head.kind = models::HeadKind::single_label; break;
    case data::Task::multi_label: head.kind = models::HeadKind::multi_label; break;
    case data::Task::regression: head.kind = models::HeadKind::regression; break;
    case data::Task::embedding: head.kind = models::HeadKind::none; break;
  }
  return head;
}

nn::RowKeys row_keys(const data::Batch& batch, int64_t seed, int64_t step) {
  nn::RowKeys keys;
  keys.reserve(static_cast<size_t>(batch.tokens()));
  const int64_t parts = batch.sequences() / batch.size();  // 2 for embedding pairs
  for (size_t i = 0; batch.sequences() == 0 && i < batch.samples.size(); ++i) {
    keys.push_back(
        RandomStream(static_cast<uint64_t>(seed), "dropout", static_cast<uint64_t>(step), static_cast<uint64_t>(batch.samples[i]))
            .next_u64());
  }
  for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
    const auto part = static_cast<int64_t>(s) % parts, sample = batch.samples[s / static_cast<size_t>(parts)];
    RandomStream stream(static_cast<uint64_t>(seed), part == 0 ? "dropout" : "dropout of pair", static_cast<uint64_t>(step),
                        static_cast<uint64_t>(sample));
    for (int32_t row = batch.offsets[s]; row < batch.offsets[s + 1]; ++row) keys.push_back(stream.next_u64());
  }
  return keys;
}

}  // namespace lowrank::train
