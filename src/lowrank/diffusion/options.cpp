#include "lowrank/diffusion/options.h"

#include "lowrank/base/error.h"
#include "lowrank/diffusion/sampler.h"

namespace lowrank::diffusion {

namespace {

const double kMany = 1e12;

void declare_loss(OptionTable& table, DiffusionOptions& options) {
  const std::string group = "Diffusion loss";
  table.add("prediction-type", options.prediction_type, "what the model predicts; auto: as its scheduler_config.json says")
      .choices({"auto", "epsilon", "v_prediction", "sample", "flow_prediction"})
      .group(group);
  table.add("zero-terminal-snr", options.zero_terminal_snr, "rescale the noise so that the last timestep is noise alone (v-prediction)")
      .group(group);
  table.add("min-snr-gamma", options.min_snr_gamma, "weigh each timestep by min(SNR, gamma), 5 is usual; 0: off")
      .range(0, kMany)
      .group(group);
  table.add("debiased-estimation-loss", options.debiased_estimation_loss, "weigh by 1/sqrt(SNR), or 1/(SNR + 1) for v-prediction")
      .group(group);
  table.add("scale-v-pred-loss-like-noise-pred", options.scale_v_pred_loss_like_noise_pred, "v-prediction: weigh by SNR/(SNR + 1)")
      .group(group);
  table.add("v-pred-like-loss", options.v_pred_like_loss, "noise prediction: add this share of the v-prediction's loss; 0: off")
      .range(0, kMany)
      .group(group);
  table.add("weighting-scheme", options.weighting_scheme, "flow models: weigh by 1/sigma^2 or by 2/(pi (1 - 2 sigma + 2 sigma^2))")
      .choices({"none", "sigma_sqrt", "cosmap"})
      .group(group);
  table.add("loss-type", options.loss_type, "of the difference d between output and target: d^2, |d|, or rounded off where |d| is over c")
      .choices({"l2", "l1", "huber", "smooth_l1"})
      .group(group);
  table.add("huber-schedule", options.huber_schedule, "how c of huber and smooth_l1 depends on the timestep")
      .choices({"snr", "exponential", "constant"})
      .group(group);
  table.add("huber-c", options.huber_c, "c of huber and smooth_l1 (of the last timestep, unless constant)").range(1e-9, kMany).group(group);
  table.add("huber-scale", options.huber_scale, "multiplies c, but not in the snr schedule").range(1e-9, kMany).group(group);
}

void declare_noise(OptionTable& table, DiffusionOptions& options) {
  const std::string group = "Noise";
  table.add("noise-offset", options.noise_offset, "deviation of noise that is equal over a channel: brighter and darker pictures; 0: off")
      .range(0, 10)
      .group(group);
  table.add("adaptive-noise-scale", options.adaptive_noise_scale, "add this times the channel's |mean| to --noise-offset")
      .range(-10, 10)
      .group(group);
  table
      .add("multires-noise-iterations", options.multires_noise_iterations, "add so many layers of coarser noise, 6 to 10 are usual; 0: off")
      .range(0, 64)
      .group(group);
  table.add("multires-noise-discount", options.multires_noise_discount, "each coarser layer's factor").range(0, 1).group(group);
  table.add("ip-noise-gamma", options.ip_noise_gamma, "input perturbation: extra noise that the target does not hold, 0.1 is usual; 0: off")
      .range(0, 10)
      .group(group);
}

void declare_timesteps(OptionTable& table, DiffusionOptions& options) {
  const std::string group = "Timesteps";
  table.add("timestep-sampling", options.timestep_sampling, "how training timesteps are drawn; auto: uniform, for flow models shift")
      .choices({"auto", "uniform", "sigmoid", "shift", "logit_normal", "mode"})
      .group(group);
  table.add("sigmoid-scale", options.sigmoid_scale, "deviation before the sigmoid (sigmoid, shift)").range(0, 100).group(group);
  table.add("discrete-flow-shift", options.discrete_flow_shift, "toward noise, 3 for SD3 (shift); 0: the model's own")
      .range(0, 1000)
      .group(group);
  table.add("logit-mean", options.logit_mean, "before the sigmoid (logit_normal)").range(-100, 100).group(group);
  table.add("logit-std", options.logit_std, "before the sigmoid (logit_normal)").range(0, 100).group(group);
  table.add("mode-scale", options.mode_scale, "how much the middle is preferred (mode)").range(-1, 1.75).group(group);
  table.add("min-timestep", options.min_timestep, "train from this timestep").range(0, 1e6).group(group);
  table.add("max-timestep", options.max_timestep, "train below this timestep; 0: to the last").range(0, 1e6).group(group);
}

}  // namespace

void declare(OptionTable& table, DiffusionOptions& options) {
  declare_loss(table, options);
  declare_noise(table, options);
  declare_timesteps(table, options);
}

void declare(OptionTable& table, SamplerOptions& options) {
  const std::string group = "Sampling";
  std::vector<std::string> names{"auto"};
  for (const SamplerKind* kind : sampler_kinds()) names.emplace_back(kind->name);
  table.add("sampler", options.sampler, "auto: the one in the model's scheduler_config.json").choices(names).group(group);
  table.add("steps", options.steps, "model calls a picture").range(1, kMany).group(group);
  table.add("karras-sigmas", options.karras_sigmas, "space noise levels as Karras et al. (euler, dpmpp_2m, flow_euler)").group(group);
  table.add("timestep-spacing", options.timestep_spacing, "auto: as the model's file says")
      .choices({"auto", "leading", "linspace", "trailing"})
      .group(group);
  table.add("eta", options.eta, "share of DDPM's noise (ddim)").range(0, 1).group(group);
}

SchedulerConfig with_options(SchedulerConfig config, const DiffusionOptions& options) {
  if (options.prediction_type != "auto") config.prediction = parse_prediction(options.prediction_type);
  if (options.zero_terminal_snr) config.zero_terminal_snr = true;
  check(!options.zero_terminal_snr || config.prediction == Prediction::v_prediction || config.prediction == Prediction::sample,
        ErrorKind::invalid_argument, "zero-terminal-snr", "expected a model of v_prediction or sample, got '{}'",
        to_string(config.prediction));
  return config;
}

SchedulerConfig with_options(SchedulerConfig config, const SamplerOptions& options) {
  if (options.karras_sigmas) config.karras = true;
  if (options.timestep_spacing != "auto") config.spacing = parse_spacing(options.timestep_spacing);
  check(options.eta == 0 || config.sampler == "ddim", ErrorKind::invalid_argument, "eta", "is for ddim, but the sampler is '{}'",
        config.sampler);
  config.eta = options.eta;
  return config;
}

}  // namespace lowrank::diffusion
