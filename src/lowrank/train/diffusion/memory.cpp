// What a DiffusionJob holds in memory, by phase.
#include <ATen/ops/zeros.h>

#include "lowrank/train/diffusion/job.h"

namespace lowrank::train {

namespace {

int64_t bytes_of(const torch::nn::Module& module, const std::function<bool(const std::string&)>& is_counted) {
  int64_t bytes = 0;
  for (const auto& parameter : module.named_parameters()) {
    if (is_counted(parameter.key())) bytes += static_cast<int64_t>(parameter.value().nbytes());
  }
  return bytes;
}

}  // namespace

int64_t DiffusionJob::released_bytes() const {
  const models::Pipeline& pipeline = trainee_.pipeline;
  if (trainee_.method == "full") return 0;
  const auto all = [](const std::string&) { return true; };
  const bool draws = grid_ != nullptr;
  int64_t bytes =
      bytes_of(*pipeline.vae, [draws](const std::string& name) { return !draws || models::AutoencoderKL::is_for_encoding(name); });
  if (!releases_text()) return bytes;
  bytes += bytes_of(*pipeline.text_encoder, all);
  return pipeline.is_xl() ? bytes + bytes_of(*pipeline.text_encoder_2, all) : bytes;
}

int64_t DiffusionJob::prepared_bytes() const {
  const models::Pipeline& pipeline = trainee_.pipeline;
  const int64_t ways = request_.diffusion.pictures.flip ? 2 : 1, shrink = pipeline.vae->shrink();
  const auto size_of = [](const torch::nn::Module& module) { return static_cast<int64_t>(module.parameters().front().element_size()); };
  int64_t bytes = 0;
  for (const data::ImageSet* set : {request_.pictures, request_.validation}) {
    if (set == nullptr) continue;
    for (const auto& entry : set->entries) {
      const int64_t pixels = entry.placement.bucket.area() / (shrink * shrink);
      bytes += ways * pixels * 2 * pipeline.vae->config().latents * size_of(*pipeline.vae);  // mean and deviation
    }
  }
  if (releases_text()) {
    const auto [width, pooled] = text_->widths();
    const auto captions = static_cast<int64_t>(known_captions().size());
    bytes += captions * (text_->length() * width + pooled) * size_of(*pipeline.text_encoder);
  }
  return std::min(bytes, cache_.room());
}

Probe DiffusionJob::training_probe() {
  const auto [bucket, pictures] = schedule_.largest_pass();
  Probe probe{.rows = pictures, .units = [](int64_t rows) { return rows; }, .has_gradients = true, .released = released_bytes()};
  probe.run = [this, bucket = bucket](int64_t rows) {
    const auto& pipeline = trainee_.pipeline;
    const int64_t shrink = pipeline.vae->shrink();
    const auto like = pipeline.unet->parameters().front().options();
    PictureBatch batch{.weights = std::vector<double>(static_cast<size_t>(rows), 1)};
    batch.clean = at::zeros({rows, pipeline.unet->config().in, bucket.height / shrink, bucket.width / shrink}, like.dtype(at::kFloat));
    const auto [width, pooled] = text_->widths();
    batch.text.states = at::zeros({rows, text_->length(), width}, like);
    if (trains_text_) batch.text = text_->encode(std::vector<std::string>(static_cast<size_t>(rows)));
    if (pipeline.is_xl()) batch.time_ids = at::zeros({rows, 6}, like);
    if (pipeline.is_xl() && !trains_text_) batch.text.pooled = at::zeros({rows, pooled}, like);
    if (trainee_.has_dropout()) batch.keys.resize(static_cast<size_t>(rows));
    const std::vector<double> timesteps(static_cast<size_t>(rows), static_cast<double>(loss_->schedule().timesteps() / 2));
    denoising_loss(*pipeline.unet, *loss_, batch, {batch.clean, batch.clean}, timesteps).sum.backward();
  };
  return probe;
}

Probe DiffusionJob::encoding_probe() {
  data::Size largest;
  for (const data::ImageSet* set : {request_.pictures, request_.validation}) {
    if (set == nullptr) continue;
    for (const auto& entry : set->entries) {
      if (entry.placement.bucket.area() > largest.area()) largest = entry.placement.bucket;
    }
  }
  const auto one = [](int64_t) { return int64_t{1}; };
  const auto run = [this, largest](int64_t) {
    const auto like = trainee_.pipeline.vae->parameters().front().options();
    trainee_.pipeline.vae->encode(at::zeros({1, 3, largest.height, largest.width}, like));
  };
  return {.phase = "encoding pictures",
          .rows = 1,
          .units = one,
          .run = run,
          .is_preparation = true,
          .remedy = "a smaller --resolution, or close other programs"};
}

std::vector<Probe> DiffusionJob::probes() {
  std::vector<Probe> probes = {training_probe()};
  const bool complete = latents_.is_complete() && (!validation_latents_ || validation_latents_->is_complete());
  if (!complete) probes.push_back(encoding_probe());
  if (grid_) {
    probes.push_back(grid_->probe());
    probes.back().released = released_bytes();
  }
  return probes;
}

}  // namespace lowrank::train
