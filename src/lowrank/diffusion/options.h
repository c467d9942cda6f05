// What a user says about diffusion training, in the words of kohya's sd-scripts; the defaults change nothing.
#pragma once

#include <cstdint>
#include <string>

#include "lowrank/base/options.h"
#include "lowrank/diffusion/scheduler_config.h"

namespace lowrank::diffusion {

struct DiffusionOptions {
  std::string prediction_type = "auto";
  bool zero_terminal_snr = false;

  double min_snr_gamma = 0;  // 0: off
  bool debiased_estimation_loss = false;
  bool scale_v_pred_loss_like_noise_pred = false;
  double v_pred_like_loss = 0;
  std::string weighting_scheme = "none";
  std::string loss_type = "l2", huber_schedule = "snr";
  double huber_c = 0.1, huber_scale = 1.0;

  double noise_offset = 0, adaptive_noise_scale = 0;
  int64_t multires_noise_iterations = 0;
  double multires_noise_discount = 0.3;
  double ip_noise_gamma = 0;

  std::string timestep_sampling = "auto";
  double sigmoid_scale = 1.0, logit_mean = 0.0, logit_std = 1.0, mode_scale = 1.29;
  double discrete_flow_shift = 0;              // 0: the model's own
  int64_t min_timestep = 0, max_timestep = 0;  // 0: all of them
};

/// How pictures are drawn.
struct SamplerOptions {
  std::string sampler = "auto";  // a name of samplers.def
  int64_t steps = 25;
  bool karras_sigmas = false;
  std::string timestep_spacing = "auto";
  double eta = 0;
};

/// Adds the groups "Diffusion loss", "Noise" and "Timesteps" to `table`, bound to `options`.
void declare(OptionTable& table, DiffusionOptions& options);
/// Adds the group "Sampling".
void declare(OptionTable& table, SamplerOptions& options);

/// The model's configuration as the user wants it trained. Error{invalid_argument} for zero terminal SNR with a model that
/// predicts epsilon (it would see no signal at the last timestep) or flow.
SchedulerConfig with_options(SchedulerConfig config, const DiffusionOptions& options);
/// The sampler's configuration as the user wants it; `config` was read with options.sampler. make_sampler refuses what the
/// sampler does not have.
SchedulerConfig with_options(SchedulerConfig config, const SamplerOptions& options);

}  // namespace lowrank::diffusion
