// DDIM: x_s = √ᾱ_s·x₀ + √(1 − ᾱ_s − v)·n̂ + √v·n, √v = η·√((1 − ᾱ_s)/(1 − ᾱ_t)·(1 − ᾱ_t/ᾱ_s)).
//
// n̂ is the predicted noise and s = t − ⌊T/N⌋, also where the spacing is another: the reference does so. Below 0, ᾱ_s is 1
// or ᾱ₀ (set_alpha_to_one). Song et al., arXiv 2010.02502, eq. 12 and 16.
#include <algorithm>
#include <cmath>

#include "lowrank/diffusion/alpha_bar_sampler.h"

namespace lowrank::diffusion {

namespace {

class Ddim : public AlphaBarSampler {
 public:
  using AlphaBarSampler::AlphaBarSampler;

  bool draws(int64_t /*index*/) const override { return config_.eta > 0; }

 private:
  at::Tensor advance(const at::Tensor& output, int64_t index, const at::Tensor& sample, const at::Tensor& noise,
                     History& /*history*/) const override {
    const int64_t t = timestep(index), s = t - config_.train_timesteps / static_cast<int64_t>(timesteps_.size());
    const double now = alpha_bar(t), next = s >= 0 ? alpha_bar(s) : config_.alpha_to_one ? 1.0 : alpha_bar(0);
    const double variance = config_.eta * config_.eta * (1 - next) / (1 - now) * (1 - now / next);
    const at::Tensor direction = predicted_noise(config_.prediction, std::sqrt(now), std::sqrt(1 - now), sample, output);
    const at::Tensor mean = std::sqrt(next) * clean(output, now, sample) + std::sqrt(std::max(0.0, 1 - next - variance)) * direction;
    return draws(index) ? mean + std::sqrt(variance) * noise : mean;
  }
};

std::unique_ptr<Sampler> make(const SchedulerConfig& config, const NoiseSchedule& schedule, int64_t steps) {
  return std::make_unique<Ddim>(config, schedule, steps);
}

}  // namespace

const SamplerKind& ddim_sampler() {
  static const SamplerKind kind{.name = "ddim",
                                .title = "DDIM",
                                .diffusers_class = "DDIMScheduler",
                                .source = "arXiv 2010.02502",
                                .defaults = {.sampler = "ddim", .clip_sample = true},
                                .keys = {"clip_sample", "clip_sample_range", "set_alpha_to_one", "thresholding"},
                                .predictions = {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                .make = make};
  return kind;
}

}  // namespace lowrank::diffusion
