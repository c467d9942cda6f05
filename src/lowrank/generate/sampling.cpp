#include "lowrank/generate/sampling.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>

#include "lowrank/base/error.h"
#include "lowrank/diffusion/draws.h"

namespace lowrank::generate {

namespace {

constexpr const char* kWhere = "sampling";

/// sample_size of the UNet's configuration, in latents: one number, or [height, width].
std::pair<int64_t, int64_t> own_size(const models::Pipeline& pipeline) {
  const auto found = pipeline.unet->json().find("sample_size");
  if (found != pipeline.unet->json().end() && found->is_number_integer()) return {found->get<int64_t>(), found->get<int64_t>()};
  if (found != pipeline.unet->json().end() && found->is_array() && found->size() == 2) return {(*found)[0], (*found)[1]};
  return {64, 64};
}

/// One row of conditions for every picture, the negative ones first; either has one for all or one each.
at::Tensor rows(const at::Tensor& negative, const at::Tensor& positive, int64_t pictures, bool guided) {
  const auto spread = [&](const at::Tensor& one) {
    std::vector<int64_t> sizes(static_cast<size_t>(one.dim()), -1);
    sizes[0] = pictures;
    return one.expand(sizes);
  };
  return guided ? at::cat({spread(negative), spread(positive)}) : spread(positive).contiguous();
}

models::AddedConditions added_conditions(const models::Pipeline& pipeline, const Conditions& conditions, const at::Tensor& latents,
                                         bool guided) {
  if (pipeline.unet->config().added_width == 0) return {};
  const int64_t shrink = pipeline.vae->shrink();
  const auto height = static_cast<float>(latents.size(2) * shrink), width = static_cast<float>(latents.size(3) * shrink);
  const at::Tensor ids = at::tensor({height, width, 0.F, 0.F, height, width}).unsqueeze(0).to(latents.device());
  return {rows(conditions.negative.pooled, conditions.positive.pooled, latents.size(0), guided), rows(ids, ids, latents.size(0), guided)};
}

void check_finite(const at::Tensor& latents, std::span<const uint64_t> seeds) {
  const at::Tensor good = at::isfinite(latents).flatten(1).all(1).cpu();
  for (int64_t i = 0; i < latents.size(0); ++i) {
    if (good[i].item<bool>()) continue;
    fail(ErrorKind::unsupported, kWhere,
         fmt::format("the latents of the picture with seed {} hold NaN or infinity", seeds[static_cast<size_t>(i)]),
         "narrow numbers overflow in some models: --dtype float32; or an adapter's weight is too large");
  }
}

}  // namespace

std::pair<int64_t, int64_t> picture_size(const models::Pipeline& pipeline, const SampleOptions& options) {
  const auto own = own_size(pipeline);
  const int64_t shrink = pipeline.vae->shrink();
  const int64_t height = options.height > 0 ? options.height : own.first * shrink;
  const int64_t width = options.width > 0 ? options.width : own.second * shrink;
  check(height % shrink == 0 && width % shrink == 0, ErrorKind::invalid_argument, kWhere,
        "expected height and width in multiples of {} pixels, got {} x {}", shrink, height, width);
  return {height, width};
}

std::unique_ptr<diffusion::Sampler> sampler_for(const models::Pipeline& pipeline, const diffusion::SamplerOptions& options) {
  const auto config = diffusion::parse_scheduler_config(pipeline.scheduler, "scheduler_config.json", options.sampler);
  return diffusion::make_sampler(diffusion::with_options(config, options), options.steps);
}

at::Tensor seed_noise(std::span<const uint64_t> seeds, int64_t index, at::IntArrayRef shape) {
  std::vector<at::Tensor> noise;
  for (const uint64_t seed : seeds)
    noise.push_back(diffusion::normal_noise(seed, "sample", static_cast<uint64_t>(index + 1), std::vector<int64_t>{0}, shape));
  return at::cat(noise);
}

at::Tensor denoise(const models::Pipeline& pipeline, const diffusion::Sampler& sampler, const Conditions& conditions, double cfg,
                   const at::Tensor& latents, std::span<const uint64_t> seeds, const SampleHooks& hooks) {
  const at::NoGradGuard no_grad;
  const bool guided = cfg > 1;
  const auto options = pipeline.unet->parameters().front().options();
  const at::Tensor states = rows(conditions.negative.states, conditions.positive.states, latents.size(0), guided).to(options);
  models::AddedConditions added = added_conditions(pipeline, conditions, latents, guided);
  if (added.text.defined()) added = {added.text.to(options), added.time_ids.to(options.device())};
  at::Tensor sample = latents.to(options.dtype(at::kFloat)) * sampler.initial_scale();
  const auto steps = static_cast<int64_t>(sampler.timesteps().size());
  diffusion::History history;
  for (int64_t i = 0; i < steps; ++i) {
    check(hooks.stop == nullptr || !hooks.stop->requested(), ErrorKind::cancelled, kWhere, "stopped at step {} of {}", i, steps);
    const at::Tensor seen = sampler.model_input(sample, i).to(options);
    const at::Tensor time = at::full({1}, sampler.timesteps()[static_cast<size_t>(i)], options.dtype(at::kFloat));
    at::Tensor output = pipeline.unet->forward(guided ? at::cat({seen, seen}) : seen, time, states, added).to(at::kFloat);
    if (guided) {
      const auto halves = output.chunk(2);
      output = halves[0] + cfg * (halves[1] - halves[0]);
    }
    const at::Tensor noise = sampler.draws(i) ? seed_noise(seeds, i, sample.sizes().slice(1)).to(sample.device()) : at::Tensor();
    sample = sampler.step(output, i, sample, noise, history);
    if (hooks.progress) hooks.progress({.stage = "sample", .done = i + 1, .total = steps, .unit = "steps", .figures = {}});
  }
  check_finite(sample, seeds);
  return sample;
}

at::Tensor decode(const models::Pipeline& pipeline, const at::Tensor& latents, int64_t at_once) {
  const at::NoGradGuard no_grad;
  const auto options = pipeline.vae->parameters().front().options();
  std::vector<at::Tensor> pictures;
  for (const at::Tensor& one : latents.split(at_once)) {
    const at::Tensor picture = pipeline.vae->decode((one / pipeline.vae->scaling_factor()).to(options));
    pictures.push_back((picture.to(at::kCPU, at::kFloat) / 2 + 0.5).clamp(0, 1));
  }
  return at::cat(pictures);
}

at::Tensor sample(const models::Pipeline& pipeline, const Conditions& conditions, const SampleOptions& options,
                  std::span<const uint64_t> seeds, const SampleHooks& hooks) {
  const auto [height, width] = picture_size(pipeline, options);
  const int64_t shrink = pipeline.vae->shrink();
  const at::Tensor noise = seed_noise(seeds, -1, {pipeline.unet->config().in, height / shrink, width / shrink});
  const auto sampler = sampler_for(pipeline, options.sampler);
  return decode(pipeline, denoise(pipeline, *sampler, conditions, options.cfg, noise, seeds, hooks));
}

std::vector<uint8_t> rgb_bytes(const at::Tensor& picture) {
  check(picture.dim() == 3 && picture.size(0) == 3, ErrorKind::shape, kWhere, "expected a picture [3, H, W], got [{}]",
        fmt::join(picture.sizes(), ", "));
  const at::Tensor bytes = (picture * 255).round().clamp(0, 255).to(at::kByte).permute({1, 2, 0}).contiguous();
  const uint8_t* values = bytes.const_data_ptr<uint8_t>();
  return {values, values + bytes.numel()};
}

}  // namespace lowrank::generate
