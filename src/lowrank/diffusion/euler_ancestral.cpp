// Euler ancestral: an Euler step down to σ_down, then noise of σ_up, σ_up² = σ'²·(σ² − σ'²)/σ², σ_down² = σ'² − σ_up².
// Source: k-diffusion, sampling.py, get_ancestral_step with η = 1.
#include <cmath>

#include "lowrank/diffusion/sigma_sampler.h"

namespace lowrank::diffusion {

namespace {

class EulerAncestral : public SigmaSampler {
 public:
  using SigmaSampler::SigmaSampler;

  bool draws(int64_t index) const override { return sigma(index + 1) > 0; }

 private:
  at::Tensor advance(const at::Tensor& output, int64_t index, const at::Tensor& sample, const at::Tensor& noise,
                     History& /*history*/) const override {
    const double from = sigma(index), to = sigma(index + 1), up = to * std::sqrt((from * from - to * to)) / from;
    const double down = to * to / from;
    const at::Tensor next = sample + (down - from) * derivative(output, index, sample);
    return draws(index) ? next + up * noise : next;
  }
};

std::unique_ptr<Sampler> make(const SchedulerConfig& config, const NoiseSchedule& schedule, int64_t steps) {
  return std::make_unique<EulerAncestral>(config, schedule, steps);
}

}  // namespace

const SamplerKind& euler_ancestral_sampler() {
  static const SamplerKind kind{.name = "euler_ancestral",
                                .title = "Euler ancestral",
                                .diffusers_class = "EulerAncestralDiscreteScheduler",
                                .source = "k-diffusion",
                                .defaults = {.sampler = "euler_ancestral", .spacing = Spacing::linspace},
                                .keys = {},
                                .predictions = {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                .make = make};
  return kind;
}

}  // namespace lowrank::diffusion
