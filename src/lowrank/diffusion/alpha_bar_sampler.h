// What the samplers in ᾱ share (DDPM, DDIM): whole timesteps, and the predicted clean sample, perhaps clipped.
#pragma once

#include "lowrank/diffusion/sampler.h"

namespace lowrank::diffusion {

class AlphaBarSampler : public Sampler {
 public:
  /// Error{invalid_argument} when an epsilon model would be asked at ᾱ = 0, where noise says nothing about the sample.
  AlphaBarSampler(const SchedulerConfig& config, const NoiseSchedule& schedule, int64_t steps);

 protected:
  double alpha_bar(int64_t t) const { return alpha_bars_[static_cast<size_t>(t)]; }
  int64_t timestep(int64_t index) const { return static_cast<int64_t>(timesteps_[static_cast<size_t>(index)]); }
  at::Tensor clean(const at::Tensor& output, double bar, const at::Tensor& sample) const;

  SchedulerConfig config_;

 private:
  std::vector<double> alpha_bars_;
};

}  // namespace lowrank::diffusion
