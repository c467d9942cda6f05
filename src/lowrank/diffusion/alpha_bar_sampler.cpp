#include "lowrank/diffusion/alpha_bar_sampler.h"

#include <ATen/ops/clamp.h>
#include <cmath>

#include "lowrank/base/error.h"
#include "lowrank/diffusion/spacing.h"

namespace lowrank::diffusion {

AlphaBarSampler::AlphaBarSampler(const SchedulerConfig& config, const NoiseSchedule& schedule, int64_t steps)
    : config_(config), alpha_bars_(schedule.alpha_bars()) {
  timesteps_ = spaced_timesteps(config, steps, /*rounded=*/true);
  for (const double t : timesteps_) {
    check(schedule.alpha(t) > 0 || config.prediction != Prediction::epsilon, ErrorKind::invalid_argument, config.sampler,
          "an epsilon model cannot start at timestep {}, where zero terminal SNR leaves no signal; expected 'v_prediction'", t);
  }
}

at::Tensor AlphaBarSampler::clean(const at::Tensor& output, double bar, const at::Tensor& sample) const {
  const at::Tensor predicted = predicted_clean(config_.prediction, std::sqrt(bar), std::sqrt(1 - bar), sample, output);
  return config_.clip_sample ? at::clamp(predicted, -config_.clip_range, config_.clip_range) : predicted;
}

}  // namespace lowrank::diffusion
