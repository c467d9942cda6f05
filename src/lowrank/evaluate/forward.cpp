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
at::Tensor collect(const models::Model& model, const data::Dataset& dataset, const ForwardOptions& options,
                   const std::function<at::Tensor(const models::Batch&)>& one) {
  const at::NoGradGuard no_grad;
  check_reads(model, dataset, "evaluate");
  std::vector<at::Tensor> parts;
  std::vector<int64_t> places;
  for (const auto& indices : data::evaluation_batches(dataset, options.token_budget)) {
    if (options.stop != nullptr && options.stop->requested()) fail(ErrorKind::cancelled, "evaluate", "stopped by the user");
    parts.push_back(one(to_model(data::collate(dataset, indices), model, options.change)).to(at::kCPU, at::kFloat));
    places.insert(places.end(), indices.begin(), indices.end());
    const char* unit = dataset.pictures ? "pictures" : "texts";
    if (options.progress) options.progress({"evaluate", static_cast<int64_t>(places.size()), dataset.size(), unit, {}});
  }
  const at::Tensor rows = at::cat(parts);
  at::Tensor ordered = at::empty_like(rows);
  ordered.index_copy_(0, at::tensor(places, at::kLong), rows);
  return ordered;
}

/// Unit-length embeddings of a batch, when `normalise`.
at::Tensor embed(models::Model& model, const models::Batch& batch, models::Pooling pooling, bool normalise) {
  if (auto* texts = dynamic_cast<models::TextModel*>(&model)) return models::embed(*texts, std::get<nn::Packed>(batch), pooling, normalise);
  const at::Tensor first = model.features(batch).to(at::kFloat);
  return normalise ? first / first.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12) : first;
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

models::Batch to_model(const data::Batch& batch, const models::Model& model, const PictureChange& change) {
  const auto* pictures = dynamic_cast<const models::ImageModel*>(&model);
  if (pictures == nullptr) return to_packed(batch, device_of(model));
  at::Tensor pixels = at::tensor(at::ArrayRef<uint8_t>(batch.pixels), at::kByte).view({batch.size(), batch.height, batch.width, 3});
  if (change) pixels = change(pixels, batch.samples);
  return nn::Pictures{.pixels = models::normalise_pixels(pixels.to(device_of(model)), pictures->processor()), .keys = {}};
}

void check_reads(const models::Model& model, const data::Dataset& dataset, const std::string& where) {
  const bool reads_pictures = dynamic_cast<const models::ImageModel*>(&model) != nullptr, has_pictures = dataset.pictures != nullptr;
  const auto name = [](bool pictures) { return pictures ? "pictures" : "texts"; };
  check(reads_pictures == has_pictures, ErrorKind::invalid_argument, where, "expected {}, which {} reads, got {}", name(reads_pictures),
        model.architecture(), name(has_pictures));
}

at::Device device_of(const models::Model& model) { return model.parameters().front().device(); }

at::Tensor outputs_of(models::Model& model, const data::Dataset& dataset, const ForwardOptions& options) {
  const bool pairs = dataset.task == data::Task::embedding;
  return collect(model, dataset, options, [&](const models::Batch& batch) {
    if (!pairs) return model.logits(batch);
    const at::Tensor vectors = embed(model, batch, options.pooling, /*normalise=*/true).view({-1, 2, model.width()});
    return (vectors.select(1, 0) * vectors.select(1, 1)).sum(1);
  });
}

at::Tensor embeddings_of(models::Model& model, const data::Dataset& dataset, models::Pooling pooling, bool normalise,
                         const ForwardOptions& options) {
  return collect(model, dataset, options, [&](const models::Batch& batch) { return embed(model, batch, pooling, normalise); });
}

}  // namespace lowrank::evaluate
