// From a prompt to a picture: noise of a seed, denoised under guidance, decoded.
//
//   const PromptEncoder encoder(pipeline, {}, {});
//   const at::Tensor pictures = sample(pipeline, encoder.encode("a pumpkin", ""), options, seeds);   // [B, 3, H, W] in [0, 1]
//
// Guidance (Ho & Salimans, arXiv 2207.12598): ŷ = y⁻ + cfg·(y⁺ − y⁻), both in one batch.
#pragma once

#include <span>
#include <vector>

#include "lowrank/base/progress.h"
#include "lowrank/base/stop.h"
#include "lowrank/diffusion/options.h"
#include "lowrank/diffusion/sampler.h"
#include "lowrank/generate/prompt.h"

namespace lowrank::generate {

struct SampleOptions {
  diffusion::SamplerOptions sampler;
  double cfg = 7.0;               // 1 and below: the negative prompt is not looked at
  int64_t height = 0, width = 0;  // pixels; 0: the size that the model was made for
};

/// What runs beside: `progress` is told after every step (done and total in steps of one picture), `stop` is looked at before.
struct SampleHooks {
  ProgressSink progress;
  const StopToken* stop = nullptr;
};

/// Height and width in pixels: the options', or sample_size · shrink. Error{invalid_argument} when a side is not a multiple of shrink.
std::pair<int64_t, int64_t> picture_size(const models::Pipeline& pipeline, const SampleOptions& options);

/// The sampler that the pipeline's scheduler and the options name, for options.sampler.steps steps.
std::unique_ptr<diffusion::Sampler> sampler_for(const models::Pipeline& pipeline, const diffusion::SamplerOptions& options);

/// Standard normal noise before step `index` (−1: the latents that all begins with), [B, …shape], float32: one picture's is a function of
/// its seed alone, so a picture is the same alone, in a batch, and as the third of a series.
at::Tensor seed_noise(std::span<const uint64_t> seeds, int64_t index, at::IntArrayRef shape);

/// Latents [B, C, h, w] (scaled as the UNet sees them) after all steps; `latents` is standard normal. Step noise is seed_noise(seeds).
/// Error{cancelled} when stopped; Error{unsupported} naming the seed when a picture's latents are no numbers any more.
at::Tensor denoise(const models::Pipeline& pipeline, const diffusion::Sampler& sampler, const Conditions& conditions, double cfg,
                   const at::Tensor& latents, std::span<const uint64_t> seeds, const SampleHooks& hooks = {});

/// Latents to pictures [B, 3, H, W] in [0, 1], float32 on the CPU, `at_once` at a time: one alone takes least memory.
at::Tensor decode(const models::Pipeline& pipeline, const at::Tensor& latents, int64_t at_once = 1);

/// One picture a seed, all in one batch.
at::Tensor sample(const models::Pipeline& pipeline, const Conditions& conditions, const SampleOptions& options,
                  std::span<const uint64_t> seeds, const SampleHooks& hooks = {});

/// A picture [3, H, W] in [0, 1] as rows of R, G, B bytes, rounded to nearest.
std::vector<uint8_t> rgb_bytes(const at::Tensor& picture);

}  // namespace lowrank::generate
