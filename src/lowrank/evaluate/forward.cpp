#include "lowrank/evaluate/forward.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <functional>

#include "lowrank/base/error.h"

namespace lowrank::evaluate {

namespace {

at::Tensor int64_tensor(const std::vector<int32_t>& values, at::Device device) {
  return at::tensor(at::ArrayRef<int32_t>(values), at::kInt).to(device, at::kLong);
}

/// Runs `one` on every batch and puts its rows where the data set has them.
at::Tensor collect(const data::Dataset& dataset, at::Device device, const ForwardOptions& options,
                   const std::function<at::Tensor(const nn::Packed&)>& one) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> parts;
  std::vector<int64_t> places;
  for (const auto& indices : data::evaluation_batches(dataset, options.token_budget)) {
    if (options.stop != nullptr && options.stop->requested()) fail(ErrorKind::cancelled, "evaluate", "stopped by the user");
    parts.push_back(one(to_packed(data::collate(dataset, indices), device)).to(at::kCPU, at::kFloat));
    places.insert(places.end(), indices.begin(), indices.end());
    if (options.progress) options.progress({"evaluate", static_cast<int64_t>(places.size()), dataset.size(), "texts", {}});
  }
  const at::Tensor rows = at::cat(parts);
  at::Tensor ordered = at::empty_like(rows);
  ordered.index_copy_(0, at::tensor(places, at::kLong), rows);
  return ordered;
}

}  // namespace

nn::Packed to_packed(const data::Batch& batch, at::Device device) {
  nn::Packed packed;
  packed.ids = int64_tensor(batch.ids, device);
  packed.positions = int64_tensor(batch.positions, device);
  packed.type_ids = int64_tensor(batch.type_ids, device);
  packed.offsets.assign(batch.offsets.begin(), batch.offsets.end());
  return packed;
}

at::Device device_of(const models::TextModel& model) { return model.parameters().front().device(); }

at::Tensor outputs_of(models::TextModel& model, const data::Dataset& dataset, const ForwardOptions& options) {
  const bool pairs = dataset.task == data::Task::embedding;
  return collect(dataset, device_of(model), options, [&](const nn::Packed& batch) {
    if (!pairs) return model.logits(batch);
    const at::Tensor vectors = models::embed(model, batch, options.pooling, /*normalise=*/true).view({-1, 2, model.width()});
    return (vectors.select(1, 0) * vectors.select(1, 1)).sum(1);
  });
}

at::Tensor embeddings_of(models::TextModel& model, const data::Dataset& dataset, models::Pooling pooling, bool normalise,
                         const ForwardOptions& options) {
  return collect(dataset, device_of(model), options,
                 [&](const nn::Packed& batch) { return models::embed(model, batch, pooling, normalise); });
}

}  // namespace lowrank::evaluate
