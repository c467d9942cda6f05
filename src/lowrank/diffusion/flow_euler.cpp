// Euler for flow matching: x' = x + (σ' − σ)·output, σ = shift·u/(1 + (shift − 1)·u), timestep T·σ.
//
// u falls evenly from the largest to the smallest σ of training, which are shifted already: the reference shifts twice.
// Esser et al., arXiv 2403.03206, eq. 23.
#include "lowrank/diffusion/sampler.h"
#include "lowrank/diffusion/spacing.h"

namespace lowrank::diffusion {

namespace {

class FlowEuler : public Sampler {
 public:
  FlowEuler(const SchedulerConfig& config, int64_t steps) {
    const auto total = static_cast<double>(config.train_timesteps);
    const auto shifted = [&](double u) { return config.shift * u / (1 + (config.shift - 1) * u); };
    sigmas_ = linear_space(shifted(1.0), rounded_to_float({shifted(1.0 / total)})[0], steps);
    for (double& sigma : sigmas_) sigma = shifted(sigma);
    if (config.karras) sigmas_ = karras_sigmas(config, sigmas_.back(), sigmas_.front(), steps);
    sigmas_ = rounded_to_float(std::move(sigmas_));
    for (const double sigma : sigmas_) timesteps_.push_back(sigma * total);
    timesteps_ = rounded_to_float(std::move(timesteps_));
    sigmas_.push_back(0.0);
  }

 private:
  at::Tensor advance(const at::Tensor& output, int64_t index, const at::Tensor& sample, const at::Tensor& /*noise*/,
                     History& /*history*/) const override {
    return sample + (sigmas_[static_cast<size_t>(index) + 1] - sigmas_[static_cast<size_t>(index)]) * output;
  }
};

std::unique_ptr<Sampler> make(const SchedulerConfig& config, const NoiseSchedule& /*schedule*/, int64_t steps) {
  return std::make_unique<FlowEuler>(config, steps);
}

}  // namespace

const SamplerKind& flow_euler_sampler() {
  static const SamplerKind kind{.name = "flow_euler",
                                .title = "Euler for flow matching",
                                .diffusers_class = "FlowMatchEulerDiscreteScheduler",
                                .source = "arXiv 2403.03206",
                                .defaults = {.sampler = "flow_euler", .prediction = Prediction::flow},
                                .keys = {"use_karras_sigmas", "use_dynamic_shifting", "invert_sigmas", "shift_terminal",
                                         "stochastic_sampling", "use_exponential_sigmas", "use_beta_sigmas"},
                                .predictions = {Prediction::flow},
                                .make = make};
  return kind;
}

}  // namespace lowrank::diffusion
