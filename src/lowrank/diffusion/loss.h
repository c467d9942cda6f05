// What diffusion training minimises: the mean over a sample's elements, weighted by its timestep, summed over samples, so
// that a batch may be split and still be one batch.
//
// Weights, with SNR = α²/σ² (docs/diffusion.md has the table):
// min-SNR (Hang et al., arXiv 2303.09556): min(SNR, γ)/SNR for epsilon, /(SNR + 1) for v, /1 for sample.
// debiased (Yu et al., arXiv 2310.08442; kohya's forms): 1/√SNR for epsilon, 1/(SNR + 1) for v; SNR at most 1000.
// Losses of d = output − target: d², |d|, 2c·(√(d² + c²) − c) (huber), 2·(√(d² + c²) − c) (smooth_l1).
// Source: kohya-ss/sd-scripts, library/custom_train_functions.py and train_util.py.
#pragma once

#include <ATen/core/Tensor.h>
#include <span>

#include "lowrank/diffusion/noise_schedule.h"
#include "lowrank/diffusion/options.h"

namespace lowrank::diffusion {

struct LossSum {
  at::Tensor sum;     // float32 scalar
  double weight = 0;  // number of samples
};

class DiffusionLoss {
 public:
  /// Throws Error{invalid_argument} for an option that means nothing for this prediction.
  DiffusionLoss(NoiseSchedule schedule, Prediction prediction, const DiffusionOptions& options);

  const NoiseSchedule& schedule() const { return schedule_; }
  Prediction prediction() const { return prediction_; }

  /// The factor of a sample at timestep t. Finite also where SNR is 0 or infinite.
  double weight(double t) const;
  /// c of huber and smooth_l1: (1 − c)/(1 + σ̂)² + c with σ̂ = 1/√SNR (snr), s·exp(ln c·t/T) (exponential), s·c (constant).
  double huber_threshold(double t) const;

  /// Unweighted loss [B], float32, of `output` and `target` [B, …]. `mask` (or undefined) multiplies the elements and
  /// broadcasts to them: [B, 1, H, W].
  at::Tensor per_sample(const at::Tensor& output, const at::Tensor& target, std::span<const double> timesteps,
                        const at::Tensor& mask = {}) const;
  /// Σ_b w_b·weight(t_b)·per_sample_b; `sample_weights` w (prior preservation): one a sample, or empty for all 1.
  LossSum sum(const at::Tensor& output, const at::Tensor& target, std::span<const double> timesteps,
              std::span<const double> sample_weights = {}, const at::Tensor& mask = {}) const;

 private:
  NoiseSchedule schedule_;
  Prediction prediction_;
  DiffusionOptions options_;
};

}  // namespace lowrank::diffusion
