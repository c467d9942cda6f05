#include "lowrank/diffusion/loss.h"

#include <ATen/ops/mul.h>
#include <algorithm>
#include <cmath>
#include <numbers>

#include "lowrank/base/error.h"

namespace lowrank::diffusion {

namespace {

constexpr double kLargestSnr = 1000.0;  // kohya's bound where a weight would vanish with growing SNR

double sd3_weight(const std::string& scheme, double sigma) {
  if (scheme == "sigma_sqrt") return 1 / (sigma * sigma);
  if (scheme == "cosmap") return 2 / (std::numbers::pi * (1 - 2 * sigma + 2 * sigma * sigma));
  return 1.0;
}

}  // namespace

DiffusionLoss::DiffusionLoss(NoiseSchedule schedule, Prediction prediction, const DiffusionOptions& options)
    : schedule_(std::move(schedule)), prediction_(prediction), options_(options) {
  const bool epsilon = prediction == Prediction::epsilon, v = prediction == Prediction::v_prediction, flow = prediction == Prediction::flow;
  check(flow == schedule_.is_flow(), ErrorKind::invalid_argument, "diffusion loss",
        "expected a flow schedule for a flow model and only there");
  const bool huber = options.loss_type == "huber" || options.loss_type == "smooth_l1";
  Problems problems(ErrorKind::invalid_argument, "diffusion loss");
  const auto needs = [&](bool used, bool ok, std::string_view option, std::string_view models) {
    if (used && !ok) problems.add(fmt::format("'{}' is for {}, but the model predicts '{}'", option, models, to_string(prediction)));
  };
  needs(options.min_snr_gamma > 0, !flow, "min-snr-gamma", "models of epsilon, v and sample");
  needs(options.debiased_estimation_loss, epsilon || v, "debiased-estimation-loss", "models of epsilon and v");
  needs(options.scale_v_pred_loss_like_noise_pred, v, "scale-v-pred-loss-like-noise-pred", "models of v");
  needs(options.v_pred_like_loss > 0, epsilon, "v-pred-like-loss", "models of epsilon");
  needs(options.weighting_scheme != "none", flow, "weighting-scheme", "flow models");
  needs(huber && options.huber_schedule == "snr", !flow, "huber-schedule snr", "models of epsilon, v and sample");
  problems.raise_if_any();
}

double DiffusionLoss::weight(double t) const {
  const double snr = schedule_.snr(t), bounded = std::min(snr, kLargestSnr), gamma = options_.min_snr_gamma;
  const bool epsilon = prediction_ == Prediction::epsilon, v = prediction_ == Prediction::v_prediction;
  double weight = prediction_ == Prediction::flow ? sd3_weight(options_.weighting_scheme, schedule_.sigma(t)) : 1.0;
  if (gamma > 0) {
    // min(1, γ/SNR) is min(SNR, γ)/SNR without 0/0 at zero SNR.
    weight *= epsilon ? std::min(1.0, gamma / snr) : v ? std::min(snr, gamma) / (snr + 1) : std::min(snr, gamma);
  }
  if (options_.scale_v_pred_loss_like_noise_pred) weight *= bounded / (bounded + 1);
  if (options_.v_pred_like_loss > 0) weight *= 1 + options_.v_pred_like_loss * (bounded + 1) / bounded;
  if (options_.debiased_estimation_loss) weight *= v ? 1 / (bounded + 1) : 1 / std::sqrt(bounded);
  check(std::isfinite(weight), ErrorKind::invalid_argument, "diffusion loss",
        "the weight of timestep {} is not finite: its signal-to-noise ratio is {}", t, snr);
  return weight;
}

double DiffusionLoss::huber_threshold(double t) const {
  const double c = options_.huber_c;
  if (options_.huber_schedule == "constant") return c * options_.huber_scale;
  if (options_.huber_schedule == "exponential") {
    return options_.huber_scale * std::exp(std::log(c) * t / static_cast<double>(schedule_.timesteps()));
  }
  const double level = 1 + 1 / std::sqrt(schedule_.snr(t));
  return (1 - c) / (level * level) + c;
}

at::Tensor DiffusionLoss::per_sample(const at::Tensor& output, const at::Tensor& target, std::span<const double> timesteps,
                                     const at::Tensor& mask) const {
  check(output.dim() >= 2 && output.sizes() == target.sizes() && output.size(0) == static_cast<int64_t>(timesteps.size()), ErrorKind::shape,
        "diffusion loss", "expected output and target of one shape [B, …] and a timestep a sample, got [{}], [{}] and {}",
        fmt::join(output.sizes(), ", "), fmt::join(target.sizes(), ", "), timesteps.size());
  const at::Tensor d = output.to(at::kFloat) - target.to(at::kFloat);
  at::Tensor losses;
  if (options_.loss_type == "l2") {
    losses = d.square();
  } else if (options_.loss_type == "l1") {
    losses = d.abs();
  } else {
    std::vector<double> thresholds;
    for (const double t : timesteps) thresholds.push_back(huber_threshold(t));
    const at::Tensor c = diffusion::per_sample(thresholds, d);
    losses = 2 * ((d.square() + c.square()).sqrt() - c);
    if (options_.loss_type == "huber") losses = losses * c;
  }
  if (mask.defined()) losses = losses * mask.to(at::kFloat);
  return losses.flatten(1).mean(1);
}

LossSum DiffusionLoss::sum(const at::Tensor& output, const at::Tensor& target, std::span<const double> timesteps,
                           std::span<const double> sample_weights, const at::Tensor& mask) const {
  check(sample_weights.empty() || sample_weights.size() == timesteps.size(), ErrorKind::shape, "diffusion loss",
        "expected one weight for each of {} samples, got {}", timesteps.size(), sample_weights.size());
  const at::Tensor losses = per_sample(output, target, timesteps, mask);
  std::vector<double> weights;
  for (size_t i = 0; i < timesteps.size(); ++i)
    weights.push_back(weight(timesteps[i]) * (sample_weights.empty() ? 1.0 : sample_weights[i]));
  return {(losses * diffusion::per_sample(weights, losses)).sum(), static_cast<double>(timesteps.size())};
}

}  // namespace lowrank::diffusion
