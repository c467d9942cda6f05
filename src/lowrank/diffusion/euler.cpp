// Euler: y' = y + (σ' − σ)·(y − x₀)/σ (Karras et al., arXiv 2206.00364, algorithm 1 without the second-order correction).
#include "lowrank/diffusion/sigma_sampler.h"

namespace lowrank::diffusion {

namespace {

class Euler : public SigmaSampler {
 public:
  using SigmaSampler::SigmaSampler;

 private:
  at::Tensor advance(const at::Tensor& output, int64_t index, const at::Tensor& sample, const at::Tensor& /*noise*/,
                     History& /*history*/) const override {
    return sample + (sigma(index + 1) - sigma(index)) * derivative(output, index, sample);
  }
};

std::unique_ptr<Sampler> make(const SchedulerConfig& config, const NoiseSchedule& schedule, int64_t steps) {
  return std::make_unique<Euler>(config, schedule, steps);
}

}  // namespace

const SamplerKind& euler_sampler() {
  static const SamplerKind kind{.name = "euler",
                                .title = "Euler",
                                .diffusers_class = "EulerDiscreteScheduler",
                                .source = "arXiv 2206.00364",
                                .defaults = {.sampler = "euler", .spacing = Spacing::linspace},
                                .keys = {"use_karras_sigmas", "sigma_min", "sigma_max", "final_sigmas_type", "interpolation_type",
                                         "timestep_type", "use_exponential_sigmas", "use_beta_sigmas"},
                                .predictions = {Prediction::epsilon, Prediction::v_prediction, Prediction::sample},
                                .make = make};
  return kind;
}

}  // namespace lowrank::diffusion
