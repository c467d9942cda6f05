#include "lowrank/diffusion/sigma_sampler.h"

#include <algorithm>
#include <cmath>

#include "lowrank/diffusion/spacing.h"

namespace lowrank::diffusion {

SigmaSampler::SigmaSampler(const SchedulerConfig& config, const NoiseSchedule& schedule, int64_t steps)
    : prediction_(config.prediction), spacing_(config.spacing) {
  const std::vector<double> training = training_sigmas(schedule);
  timesteps_ = spaced_timesteps(config, steps, /*rounded=*/false);
  sigmas_ = sigmas_at(training, timesteps_);
  if (config.karras) {
    sigmas_ = karras_sigmas(config, sigmas_.back(), sigmas_.front(), steps);
    for (size_t i = 0; i < sigmas_.size(); ++i) timesteps_[i] = timestep_of(sigmas_[i], training);
    timesteps_ = rounded_to_float(std::move(timesteps_));
  }
  sigmas_.push_back(config.final_sigma_zero ? 0.0 : training.front());
  sigmas_ = rounded_to_float(std::move(sigmas_));
}

double SigmaSampler::initial_scale() const {
  const double largest = *std::max_element(sigmas_.begin(), sigmas_.end());
  return spacing_ == Spacing::leading ? std::hypot(largest, 1.0) : largest;
}

at::Tensor SigmaSampler::model_input(const at::Tensor& sample, int64_t index) const { return sample / std::hypot(sigma(index), 1.0); }

at::Tensor SigmaSampler::derivative(const at::Tensor& output, int64_t index, const at::Tensor& sample) const {
  const double now = sigma(index), alpha = 1 / std::hypot(now, 1.0);
  if (prediction_ == Prediction::epsilon) return output;
  return (sample - predicted_clean(prediction_, alpha, now * alpha, sample * alpha, output)) / now;
}

}  // namespace lowrank::diffusion
