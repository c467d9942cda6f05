// What Euler's two samplers share: they move y = x₀ + σ·n, which the model sees scaled to variance one.
#pragma once

#include "lowrank/diffusion/sampler.h"

namespace lowrank::diffusion {

class SigmaSampler : public Sampler {
 public:
  SigmaSampler(const SchedulerConfig& config, const NoiseSchedule& schedule, int64_t steps);

  double initial_scale() const override;
  at::Tensor model_input(const at::Tensor& sample, int64_t index) const override;

 protected:
  double sigma(int64_t index) const { return sigmas_[static_cast<size_t>(index)]; }
  /// (y − x₀)/σ, the direction in which y moves as σ grows.
  at::Tensor derivative(const at::Tensor& output, int64_t index, const at::Tensor& sample) const;

 private:
  Prediction prediction_;
  Spacing spacing_;
};

}  // namespace lowrank::diffusion
