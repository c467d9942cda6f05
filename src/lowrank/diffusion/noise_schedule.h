// How a clean sample becomes noise: x_t = α(t)·x + σ(t)·n.
//
// Variance preserving (DDPM): α² = ᾱ_t = Π (1 − β_i), σ² = 1 − ᾱ_t, t = 0 … T − 1 (Ho et al., arXiv 2006.11239).
// Flow matching: σ = t/T, α = 1 − σ, t in (0, T] (Esser et al., arXiv 2403.03206).
// Zero terminal SNR moves and scales √ᾱ so that its last value is 0 (Lin et al., arXiv 2305.08891, algorithm 1).
#pragma once

#include <ATen/core/Tensor.h>
#include <span>
#include <vector>

#include "lowrank/diffusion/scheduler_config.h"

namespace lowrank::diffusion {

class NoiseSchedule {
 public:
  /// Throws Error{invalid_argument} for a configuration that validate() refuses.
  explicit NoiseSchedule(const SchedulerConfig& config);

  int64_t timesteps() const { return timesteps_; }
  bool is_flow() const { return flow_; }

  /// ᾱ of every timestep, rounded to float32 at each operation as in diffusers, whose models saw those values. Empty for flow.
  const std::vector<double>& alpha_bars() const { return alpha_bars_; }

  /// `t` is a whole number below T, or for flow any number in [0, T]; Error{invalid_argument} otherwise.
  double alpha(double t) const;
  double sigma(double t) const;
  /// α²/σ²; infinite where σ is 0.
  double snr(double t) const;

 private:
  double alpha_bar(double t) const;

  int64_t timesteps_;
  bool flow_;
  std::vector<double> alpha_bars_;
};

/// x_t [B, …], with one timestep a sample. Error{shape} when `noise` or `timesteps` do not fit `clean`.
at::Tensor add_noise(const NoiseSchedule& schedule, const at::Tensor& clean, const at::Tensor& noise, std::span<const double> timesteps);

/// What the model should answer to x_t: see Prediction.
at::Tensor prediction_target(const NoiseSchedule& schedule, Prediction prediction, const at::Tensor& clean, const at::Tensor& noise,
                             std::span<const double> timesteps);

/// The clean sample, and the noise, that an output for x = α·clean + σ·noise means.
at::Tensor predicted_clean(Prediction prediction, double alpha, double sigma, const at::Tensor& x, const at::Tensor& output);
at::Tensor predicted_noise(Prediction prediction, double alpha, double sigma, const at::Tensor& x, const at::Tensor& output);

/// One number a sample as [B, 1, …] to multiply `like` with, in its dtype and on its device.
at::Tensor per_sample(const std::vector<double>& values, const at::Tensor& like);

}  // namespace lowrank::diffusion
