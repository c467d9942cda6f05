// What scheduler_config.json of a diffusers folder says: how noise is added, what the model predicts, and how N steps are
// laid over the training timesteps.
//
// Source: diffusers 0.42.1, schedulers/scheduling_{ddpm,ddim,euler_discrete,euler_ancestral_discrete,dpmsolver_multistep,
// flow_match_euler_discrete,pndm}.py; docs/diffusion.md has the table.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/base/json.h"

namespace lowrank::diffusion {

/// With x_t = α·x + σ·n, the model's output is n (epsilon), α·n − σ·x (v_prediction), x (sample) or n − x (flow).
enum class Prediction { epsilon, v_prediction, sample, flow };
enum class Spacing { leading, linspace, trailing };

/// diffusers' words: "epsilon", "v_prediction", "sample", "flow_prediction"; "leading", "linspace", "trailing".
std::string_view to_string(Prediction prediction);
std::string_view to_string(Spacing spacing);
/// Error{invalid_argument} for other words.
Prediction parse_prediction(std::string_view name);
Spacing parse_spacing(std::string_view name);

/// The defaults are those that most of diffusers' classes share; each sampler changes its own (SamplerKind::defaults).
struct SchedulerConfig {
  std::string sampler = "ddim";  // a name of samplers.def
  Prediction prediction = Prediction::epsilon;

  int64_t train_timesteps = 1000;
  std::string beta_schedule = "linear";  // linear, scaled_linear, squaredcos_cap_v2
  double beta_start = 1e-4, beta_end = 0.02;
  std::vector<double> trained_betas;  // in place of the schedule when not empty
  bool zero_terminal_snr = false;
  double shift = 1.0;  // of flow matching: σ' = shift·σ/(1 + (shift − 1)·σ)

  Spacing spacing = Spacing::leading;
  int64_t steps_offset = 0;
  bool karras = false;
  std::optional<double> sigma_min, sigma_max;  // of Karras' sequence; absent: those of the timesteps
  bool final_sigma_zero = true;                // else the smallest σ of training

  bool clip_sample = false;  // the predicted clean sample, to ±clip_range
  double clip_range = 1.0;
  bool alpha_to_one = true;  // DDIM's last step ends at ᾱ = 1, else at ᾱ₀
  double eta = 0.0;          // DDIM: share of DDPM's noise
  bool large_variance = false;

  bool midpoint = true;  // of DPM++ 2M; else Heun's
  bool lower_order_final = true, euler_at_final = false;
  double lambda_min_clipped = -std::numeric_limits<double>::infinity();

  bool is_flow() const { return prediction == Prediction::flow; }
};

/// Reads a scheduler_config.json strictly. `sampler`: a name of samplers.def to use in place of the file's class (then
/// keys that the file does not hold have that sampler's defaults, but nothing is clipped unless the file says so); empty or
/// "auto": the sampler that equals the class. PNDM is not built: DDIM takes its place, with a warning.
/// Throws Error{file_format} for mistyped keys and for keys nobody knows (unless null or false, which ask for nothing),
/// Error{unsupported} for a class or a value that is not honoured, Error{invalid_argument} for a sampler that cannot run
/// what the model predicts. A switch that is on in the file and means nothing to the sampler is named in a warning.
SchedulerConfig parse_scheduler_config(const Json& config, const std::string& where, std::string_view sampler = "");

/// The same from a file, which may hold Python's -Infinity as lambda_min_clipped. Error{io} when it cannot be read.
SchedulerConfig read_scheduler_config(const std::filesystem::path& path, std::string_view sampler = "");

/// Throws Error{invalid_argument} for numbers no schedule can have: betas outside [0, 1), no timesteps, shift ≤ 0, …
void validate(const SchedulerConfig& config, const std::string& where);

}  // namespace lowrank::diffusion
