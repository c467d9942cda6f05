// The random part of diffusion training and sampling: timesteps and noise, each a function of (seed, purpose, step, sample id) alone,
// hence independent of batch order and of where a run was resumed.
#pragma once

#include <ATen/core/Tensor.h>
#include <span>
#include <string_view>
#include <vector>

#include "lowrank/base/random.h"
#include "lowrank/diffusion/noise_schedule.h"
#include "lowrank/diffusion/options.h"

namespace lowrank::diffusion {

/// Standard normal [B, …shape], float32 on the CPU; sample i depends on (seed, purpose, step, ids[i]).
at::Tensor normal_noise(uint64_t seed, std::string_view purpose, uint64_t step, std::span<const int64_t> ids, at::IntArrayRef shape);

/// A timestep as a share u of [0, 1] (1: all noise). z: standard normal, r: uniform in [0, 1).
/// uniform: r; sigmoid: S(scale·z); logit_normal: S(mean + std·z); shift: u' = shift·u/(1 + (shift − 1)·u) of sigmoid's u;
/// mode: 1 − r − scale·(cos²(πr/2) − 1 + r). Source: kohya sd-scripts, library/flux_train_utils.py; diffusers 0.42.1,
/// training_utils.py, compute_density_for_timestep_sampling (Esser et al., arXiv 2403.03206, section 3.1).
double timestep_share(const DiffusionOptions& options, std::string_view sampling, double shift, double r, double z);

/// The training timesteps of samples `ids` at optimiser step `step`: a share of [min-timestep, max-timestep), a whole number unless the
/// schedule is flow's. `model_shift`: SchedulerConfig::shift. Error{invalid_argument} for an empty range.
std::vector<double> training_timesteps(const DiffusionOptions& options, const NoiseSchedule& schedule, double model_shift, uint64_t seed,
                                       uint64_t step, std::span<const int64_t> ids);

struct TrainingNoise {
  at::Tensor target;  // what the prediction's target is made of
  at::Tensor input;   // what is added to the clean sample: the same, or with input perturbation more
};

/// Noise for `clean` [B, C, H, W] (any shape without offset and multires), in its dtype and on its device: offset
/// (n + (offset + scale·|mean|)·n_c), multires (n + Σ discount^i·upsampled coarse noise, over its deviation), input perturbation.
TrainingNoise training_noise(const DiffusionOptions& options, const at::Tensor& clean, uint64_t seed, uint64_t step,
                             std::span<const int64_t> ids);

}  // namespace lowrank::diffusion
