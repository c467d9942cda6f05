// DPM-Solver++(2M): a second-order multistep solver in the predicted clean samples.
//
// With λ = log(α/σ), h = λ' − λ, r = (λ − λ_before)/h and D = (x₀ − x₀_before)/r:
// x' = σ'/σ·x − α'·(e^−h − 1)·x₀ − ½·α'·(e^−h − 1)·D (midpoint) or + α'·((e^−h − 1)/h + 1)·D (Heun).
// Without D it is first order: DDIM. Lu et al., arXiv 2211.01095, algorithm 2. α = 1/√(σ̂² + 1) and σ = σ̂·α of the noise level
// σ̂ in sigmas(), or α = 1 − σ̂ and σ = σ̂ for flow.
#include <algorithm>
#include <cmath>
#include <utility>

#include "lowrank/base/error.h"
#include "lowrank/diffusion/sampler.h"
#include "lowrank/diffusion/spacing.h"

namespace lowrank::diffusion {

namespace {

constexpr int64_t kFewSteps = 15;  // below, the last step is taken at first order

struct Level {
  double alpha, sigma, lambda;
};

class Dpmpp2m : public Sampler {
 public:
  Dpmpp2m(const SchedulerConfig& config, const NoiseSchedule& schedule, int64_t steps) : config_(config) {
    config_.is_flow() ? lay_flow_steps(steps) : lay_steps(training_sigmas(schedule), steps);
    sigmas_ = rounded_to_float(std::move(sigmas_));
  }

 private:
  void lay_steps(const std::vector<double>& training, int64_t steps) {
    // The reference counts timesteps that remain after very small λ are clipped, and one step more than it takes.
    const auto clipped =
        std::count_if(training.begin(), training.end(), [&](double sigma) { return -std::log(sigma) < config_.lambda_min_clipped; });
    SchedulerConfig spaced = config_;
    spaced.train_timesteps -= clipped;
    check(steps < spaced.train_timesteps, ErrorKind::invalid_argument, "dpmpp_2m", "expected fewer steps than timesteps, {}, got {}",
          spaced.train_timesteps, steps);
    if (config_.spacing == Spacing::trailing) {
      check(clipped == 0, ErrorKind::unsupported, "dpmpp_2m", "expected no 'lambda_min_clipped' with trailing timesteps, got {}",
            config_.lambda_min_clipped);
      timesteps_ = spaced_timesteps(spaced, steps, /*rounded=*/true);
    } else {
      timesteps_ = spaced_timesteps(spaced, steps + 1, /*rounded=*/true);
      timesteps_.pop_back();
    }
    sigmas_ = sigmas_at(training, timesteps_);
    if (config_.karras) {
      sigmas_ = karras_sigmas(config_, training.front(), training.back(), steps);
      const bool whole = config_.beta_schedule != "squaredcos_cap_v2";
      for (size_t i = 0; i < sigmas_.size(); ++i) {
        const double t = timestep_of(sigmas_[i], training);
        timesteps_[i] = whole ? std::nearbyint(t) : std::floor(t);
      }
    }
    sigmas_.push_back(config_.final_sigma_zero ? 0.0 : training.front());
  }

  void lay_flow_steps(int64_t steps) {
    const auto total = static_cast<double>(config_.train_timesteps);
    for (const double alpha : linear_space(1.0, 1.0 / total, steps + 1)) {
      const double sigma = 1 - alpha;
      sigmas_.insert(sigmas_.begin(), config_.shift * sigma / (1 + (config_.shift - 1) * sigma));
    }
    for (int64_t i = 0; i < steps; ++i) timesteps_.push_back(std::floor(sigmas_[static_cast<size_t>(i)] * total));
  }

  Level level(int64_t index) const {
    const double sigma = sigmas_[static_cast<size_t>(index)];
    const double alpha = config_.is_flow() ? 1 - sigma : 1 / std::hypot(sigma, 1.0);
    const double scaled = config_.is_flow() ? sigma : sigma * alpha;
    return {alpha, scaled, std::log(alpha) - std::log(scaled)};
  }

  at::Tensor advance(const at::Tensor& output, int64_t index, const at::Tensor& sample, const at::Tensor& /*noise*/,
                     History& history) const override {
    const Level now = level(index), next = level(index + 1);
    const at::Tensor clean = predicted_clean(config_.prediction, now.alpha, now.sigma, sample, output);
    const at::Tensor before = std::exchange(history.clean, clean);
    const double h = next.lambda - now.lambda, decay = std::expm1(-h);
    const at::Tensor first = next.sigma / now.sigma * sample - next.alpha * decay * clean;
    if (!before.defined() || is_first_order_end(index)) return first;
    const double r = (now.lambda - level(index - 1).lambda) / h;
    return first + next.alpha / r * (config_.midpoint ? -0.5 * decay : decay / h + 1) * (clean - before);
  }

  bool is_first_order_end(int64_t index) const {
    const auto steps = static_cast<int64_t>(timesteps_.size());
    return index + 1 == steps && (config_.euler_at_final || config_.final_sigma_zero || (config_.lower_order_final && steps < kFewSteps));
  }

  SchedulerConfig config_;
};

std::unique_ptr<Sampler> make(const SchedulerConfig& config, const NoiseSchedule& schedule, int64_t steps) {
  return std::make_unique<Dpmpp2m>(config, schedule, steps);
}

}  // namespace

const SamplerKind& dpmpp_2m_sampler() {
  static const SamplerKind kind{
      .name = "dpmpp_2m",
      .title = "DPM++ 2M",
      .diffusers_class = "DPMSolverMultistepScheduler",
      .source = "arXiv 2211.01095",
      .defaults = {.sampler = "dpmpp_2m", .spacing = Spacing::linspace},
      .keys = {"use_karras_sigmas", "final_sigmas_type", "algorithm_type", "solver_order", "solver_type", "lower_order_final",
               "euler_at_final", "lambda_min_clipped", "use_flow_sigmas", "flow_shift", "variance_type", "thresholding",
               "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_dynamic_shifting"},
      .predictions = {Prediction::epsilon, Prediction::v_prediction, Prediction::sample, Prediction::flow},
      .make = make};
  return kind;
}

}  // namespace lowrank::diffusion
