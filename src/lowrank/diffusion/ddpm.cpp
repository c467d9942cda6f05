// DDPM: the mean of q(x_s | x_t, x₀) plus noise of its variance, s the next timestep.
//
// With a = ᾱ_t/ᾱ_s: x_s = √ᾱ_s·(1 − a)/(1 − ᾱ_t)·x₀ + √a·(1 − ᾱ_s)/(1 − ᾱ_t)·x_t + √v·n,
// v = (1 − ᾱ_s)/(1 − ᾱ_t)·(1 − a), or 1 − a (large variance). Ho et al., arXiv 2006.11239, eq. 6, 7.
#include <algorithm>
#include <cmath>

#include "lowrank/diffusion/alpha_bar_sampler.h"

namespace lowrank::diffusion {

namespace {

class Ddpm : public AlphaBarSampler {
 public:
  using AlphaBarSampler::AlphaBarSampler;

  bool draws(int64_t index) const override { return timestep(index) > 0; }

 private:
  at::Tensor advance(const at::Tensor& output, int64_t index, const at::Tensor& sample, const at::Tensor& noise,
                     History& /*history*/) const override {
    const bool last = index + 1 == static_cast<int64_t>(timesteps_.size());
    const double now = alpha_bar(timestep(index)), next = last ? 1.0 : alpha_bar(timestep(index + 1));
    const double ratio = now / next, share = (1 - next) / (1 - now);
    const at::Tensor mean = std::sqrt(next) * (1 - ratio) / (1 - now) * clean(output, now, sample) + std::sqrt(ratio) * share * sample;
    if (!draws(index)) return mean;
    return mean + std::sqrt(config_.large_variance ? 1 - ratio : std::max(share * (1 - ratio), 1e-20)) * noise;
  }
};

std::unique_ptr<Sampler> make(const SchedulerConfig& config, const NoiseSchedule& schedule, int64_t steps) {
  return std::make_unique<Ddpm>(config, schedule, steps);
}

}  // namespace

const SamplerKind& ddpm_sampler() {
  static const SamplerKind kind{.name = "ddpm",
                                .title = "DDPM",
                                .diffusers_class = "DDPMScheduler",
                                .source = "arXiv 2006.11239",
                                .defaults = {.sampler = "ddpm", .clip_sample = true},
                                .keys = {"clip_sample", "clip_sample_range", "variance_type", "thresholding"},
                                .predictions = {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                .make = make};
  return kind;
}

}  // namespace lowrank::diffusion
