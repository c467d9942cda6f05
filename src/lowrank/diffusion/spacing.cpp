#include "lowrank/diffusion/spacing.h"

#include <algorithm>
#include <cmath>

#include "lowrank/base/error.h"

namespace lowrank::diffusion {

std::vector<double> linear_space(double first, double last, int64_t n) {
  std::vector<double> values;
  const double step = n > 1 ? (last - first) / static_cast<double>(n - 1) : 0.0;
  for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<double>(i) * step + first);
  if (n > 1) values.back() = last;
  return values;
}

std::vector<double> spaced_timesteps(const SchedulerConfig& config, int64_t steps, bool rounded) {
  const int64_t total = config.train_timesteps;
  std::vector<double> values;
  switch (config.spacing) {
    case Spacing::linspace:
      values = linear_space(0, static_cast<double>(total - 1), steps);
      std::reverse(values.begin(), values.end());
      if (rounded) std::transform(values.begin(), values.end(), values.begin(), [](double t) { return std::nearbyint(t); });
      break;
    case Spacing::leading:
      for (int64_t i = steps; i-- > 0;) values.push_back(static_cast<double>(i * (total / steps) + config.steps_offset));
      break;
    case Spacing::trailing: {
      // numpy.arange's own rounding: where a value is close to a half, it decides the timestep.
      const auto first = static_cast<double>(total);
      const double step = (first - first / static_cast<double>(steps)) - first;
      for (int64_t i = 0; i < steps; ++i) values.push_back(std::nearbyint(first + static_cast<double>(i) * step) - 1);
      break;
    }
  }
  return rounded_to_float(std::move(values));
}

std::vector<double> rounded_to_float(std::vector<double> values) {
  for (double& value : values) value = static_cast<double>(static_cast<float>(value));
  return values;
}

std::vector<double> training_sigmas(const NoiseSchedule& schedule) {
  std::vector<double> sigmas;
  for (double bar : schedule.alpha_bars()) {
    if (bar == 0) bar = 0x1.0p-24;
    sigmas.push_back(std::sqrt((1 - bar) / bar));
  }
  return rounded_to_float(std::move(sigmas));
}

std::vector<double> sigmas_at(const std::vector<double>& sigmas, const std::vector<double>& timesteps) {
  std::vector<double> values;
  for (const double t : timesteps) {
    const double inside = std::clamp(t, 0.0, static_cast<double>(sigmas.size() - 1));
    const auto low = static_cast<size_t>(inside);
    const size_t high = std::min(low + 1, sigmas.size() - 1);
    values.push_back(sigmas[low] + (sigmas[high] - sigmas[low]) * (inside - static_cast<double>(low)));
  }
  return values;
}

std::vector<double> karras_sigmas(const SchedulerConfig& config, double smallest, double largest, int64_t steps) {
  constexpr double rho = 7.0;
  const double low = std::pow(config.sigma_min.value_or(smallest), 1 / rho), high = std::pow(config.sigma_max.value_or(largest), 1 / rho);
  std::vector<double> values = linear_space(0, 1, steps);
  for (double& value : values) value = std::pow(high + value * (low - high), rho);
  return values;
}

double timestep_of(double sigma, const std::vector<double>& sigmas) {
  const double wanted = std::log(std::max(sigma, 1e-10));
  const auto above = std::upper_bound(sigmas.begin(), sigmas.end(), sigma);
  const auto last = static_cast<int64_t>(sigmas.size()) - 2;
  const int64_t low = std::clamp<int64_t>(above - sigmas.begin() - 1, 0, last);
  // In float32 as in the reference: DPM++ 2M cuts off what is behind the point, so that the last digit can decide.
  const auto logarithm = [&](int64_t i) { return static_cast<double>(std::log(static_cast<float>(sigmas[static_cast<size_t>(i)]))); };
  const double from = logarithm(low), to = logarithm(low + 1);
  return static_cast<double>(low) + std::clamp((from - wanted) / (from - to), 0.0, 1.0);
}

}  // namespace lowrank::diffusion
