#include "lowrank/diffusion/noise_schedule.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/cumprod.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>
#include <cmath>
#include <numbers>

#include "lowrank/base/error.h"

namespace lowrank::diffusion {

namespace {

constexpr double kLargestBeta = 0.999;

// ᾱ(u) = cos²((u + 0.008)/1.008 · π/2) (Nichol and Dhariwal, arXiv 2102.09672).
std::vector<double> cosine_betas(int64_t count) {
  const auto bar = [](double u) { return std::pow(std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2), 2); };
  std::vector<double> betas;
  for (int64_t i = 0; i < count; ++i) {
    const double from = static_cast<double>(i) / static_cast<double>(count), to = static_cast<double>(i + 1) / static_cast<double>(count);
    betas.push_back(std::min(1 - bar(to) / bar(from), kLargestBeta));
  }
  return betas;
}

at::Tensor betas_of(const SchedulerConfig& config) {
  const auto floats = [](const std::vector<double>& values) { return at::tensor(at::ArrayRef<double>(values)).to(at::kFloat); };
  if (!config.trained_betas.empty()) return floats(config.trained_betas);
  const int64_t count = config.train_timesteps;
  if (config.beta_schedule == "linear") return at::linspace(config.beta_start, config.beta_end, count, at::kFloat);
  if (config.beta_schedule == "scaled_linear") {
    return at::linspace(std::sqrt(config.beta_start), std::sqrt(config.beta_end), count, at::kFloat).square();
  }
  return floats(cosine_betas(count));
}

at::Tensor with_zero_terminal_snr(const at::Tensor& betas) {
  at::Tensor roots = at::cumprod(1 - betas, 0).sqrt();
  const at::Tensor first = roots[0].clone(), last = roots[-1].clone();
  roots = (roots - last) * (first / (first - last));
  const at::Tensor bars = roots.square();
  return 1 - at::cat({bars.slice(0, 0, 1), bars.slice(0, 1) / bars.slice(0, 0, -1)});
}

}  // namespace

NoiseSchedule::NoiseSchedule(const SchedulerConfig& config) : timesteps_(config.train_timesteps), flow_(config.is_flow()) {
  validate(config, "noise schedule");
  if (flow_) return;
  at::Tensor betas = betas_of(config);
  if (config.zero_terminal_snr) betas = with_zero_terminal_snr(betas);
  const at::Tensor bars = at::cumprod(1 - betas, 0).to(at::kDouble).contiguous();
  alpha_bars_.assign(bars.const_data_ptr<double>(), bars.const_data_ptr<double>() + bars.numel());
}

double NoiseSchedule::alpha_bar(double t) const {
  check(t >= 0 && t < static_cast<double>(timesteps_) && t == std::floor(t), ErrorKind::invalid_argument, "noise schedule",
        "expected a whole timestep from 0 to {}, got {}", timesteps_ - 1, t);
  return alpha_bars_[static_cast<size_t>(t)];
}

double NoiseSchedule::alpha(double t) const { return flow_ ? 1 - sigma(t) : std::sqrt(alpha_bar(t)); }

double NoiseSchedule::sigma(double t) const {
  if (!flow_) return std::sqrt(1 - alpha_bar(t));
  check(t >= 0 && t <= static_cast<double>(timesteps_), ErrorKind::invalid_argument, "noise schedule",
        "expected a timestep from 0 to {}, got {}", timesteps_, t);
  return t / static_cast<double>(timesteps_);
}

double NoiseSchedule::snr(double t) const {
  const double ratio = alpha(t) / sigma(t);
  return ratio * ratio;
}

at::Tensor per_sample(const std::vector<double>& values, const at::Tensor& like) {
  std::vector<int64_t> shape(static_cast<size_t>(like.dim()), 1);
  shape[0] = static_cast<int64_t>(values.size());
  return at::tensor(at::ArrayRef<double>(values)).view(shape).to(like.options());
}

namespace {

struct Factors {
  at::Tensor alpha, sigma;
};

Factors factors(const NoiseSchedule& schedule, const at::Tensor& clean, const at::Tensor& noise, std::span<const double> timesteps) {
  check(clean.dim() >= 1 && noise.sizes() == clean.sizes(), ErrorKind::shape, "noise schedule",
        "expected noise of the samples' shape [{}], got [{}]", fmt::join(clean.sizes(), ", "), fmt::join(noise.sizes(), ", "));
  check(clean.size(0) == static_cast<int64_t>(timesteps.size()), ErrorKind::shape, "noise schedule",
        "expected one timestep for each of {} samples, got {}", clean.size(0), timesteps.size());
  std::vector<double> alphas, sigmas;
  for (const double t : timesteps) {
    alphas.push_back(schedule.alpha(t));
    sigmas.push_back(schedule.sigma(t));
  }
  return {per_sample(alphas, clean), per_sample(sigmas, clean)};
}

}  // namespace

at::Tensor add_noise(const NoiseSchedule& schedule, const at::Tensor& clean, const at::Tensor& noise, std::span<const double> timesteps) {
  const auto [alpha, sigma] = factors(schedule, clean, noise, timesteps);
  return alpha * clean + sigma * noise;
}

at::Tensor prediction_target(const NoiseSchedule& schedule, Prediction prediction, const at::Tensor& clean, const at::Tensor& noise,
                             std::span<const double> timesteps) {
  switch (prediction) {
    case Prediction::epsilon: return noise;
    case Prediction::sample: return clean;
    case Prediction::flow: return noise - clean;
    case Prediction::v_prediction: break;
  }
  const auto [alpha, sigma] = factors(schedule, clean, noise, timesteps);
  return alpha * noise - sigma * clean;
}

at::Tensor predicted_clean(Prediction prediction, double alpha, double sigma, const at::Tensor& x, const at::Tensor& output) {
  switch (prediction) {
    case Prediction::epsilon: return (x - sigma * output) / alpha;
    case Prediction::v_prediction: return alpha * x - sigma * output;
    case Prediction::sample: return output;
    case Prediction::flow: return x - sigma * output;
  }
  fail(ErrorKind::internal, "noise schedule", "expected one of four predictions");
}

at::Tensor predicted_noise(Prediction prediction, double alpha, double sigma, const at::Tensor& x, const at::Tensor& output) {
  switch (prediction) {
    case Prediction::epsilon: return output;
    case Prediction::v_prediction: return alpha * output + sigma * x;
    case Prediction::sample: return (x - alpha * output) / sigma;
    case Prediction::flow: return x + alpha * output;
  }
  fail(ErrorKind::internal, "noise schedule", "expected one of four predictions");
}

}  // namespace lowrank::diffusion
