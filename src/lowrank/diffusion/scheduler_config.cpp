#include "lowrank/diffusion/scheduler_config.h"

#include <algorithm>
#include <array>
#include <set>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/log.h"
#include "lowrank/diffusion/sampler.h"

namespace lowrank::diffusion {

namespace {

constexpr std::array kPredictions = {std::pair{Prediction::epsilon, "epsilon"}, std::pair{Prediction::v_prediction, "v_prediction"},
                                     std::pair{Prediction::sample, "sample"}, std::pair{Prediction::flow, "flow_prediction"}};
constexpr std::array kSpacings = {std::pair{Spacing::leading, "leading"}, std::pair{Spacing::linspace, "linspace"},
                                  std::pair{Spacing::trailing, "trailing"}};
constexpr std::string_view kPndm = "PNDMScheduler";

// What every class in ᾱ or σ reads.
constexpr std::array<std::string_view, 9> kCommon = {"num_train_timesteps", "beta_start",    "beta_end",
                                                     "beta_schedule",       "trained_betas", "prediction_type",
                                                     "timestep_spacing",    "steps_offset",  "rescale_betas_zero_snr"};
// Switches that are on by default in their class, or that matter to PNDM alone.
constexpr std::array<std::string_view, 3> kQuietSwitches = {"set_alpha_to_one", "lower_order_final", "skip_prk_steps"};
// Numbers of switches that are refused when on.
constexpr std::array<std::string_view, 7> kIdle = {
    "dynamic_thresholding_ratio", "sample_max_value", "time_shift_type", "base_shift", "max_shift",
    "base_image_seq_len",         "max_image_seq_len"};

template <class Table>
std::string names_of(const Table& table) {
  std::vector<std::string_view> names;
  for (const auto& [value, name] : table) names.emplace_back(name);
  return fmt::format("{}", fmt::join(names, ", "));
}

template <class Table, class T>
std::string_view name_in(const Table& table, T value) {
  return std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.first == value; })->second;
}

template <class Table>
auto value_in(const Table& table, std::string_view wanted, std::string_view what) {
  for (const auto& [value, name] : table) {
    if (wanted == name) return value;
  }
  fail(ErrorKind::invalid_argument, what, fmt::format("expected one of {}, got '{}'", names_of(table), wanted));
}

/// Reads the keys that the sampler has; the others of the file are foreign to it.
class Reader {
 public:
  Reader(const Json& config, const std::string& where, const SamplerKind& kind)
      : config_(config), where_(where), kind_(kind), wrong_(ErrorKind::file_format, where), unsupported_(ErrorKind::unsupported, where) {}

  template <class T>
  void read(const char* key, T& target) {
    const Json* found = value(key);
    if (found == nullptr) return;
    const bool fits = std::is_same_v<T, bool>                  ? found->is_boolean()
                      : std::is_same_v<T, int64_t>             ? found->is_number_integer()
                      : std::is_same_v<T, std::string>         ? found->is_string()
                      : std::is_same_v<T, std::vector<double>> ? found->is_array() && std::all_of(found->begin(), found->end(), is_number)
                                                               : found->is_number();
    if (fits) {
      target = found->get<T>();
    } else {
      wrong_.add(fmt::format("key '{}' has an unexpected type: {}", key, found->dump()));
    }
  }

  void read(const char* key, std::optional<double>& target) {
    double number = 0;
    if (value(key) == nullptr) return;
    read(key, number);
    target = number;
  }

  template <class Table, class T>
  void choose(const char* key, const Table& table, T& target) {
    const Json* found = value(key);
    if (found == nullptr) return;
    for (const auto& [choice, name] : table) {
      if (*found == name) {
        target = choice;
        return;
      }
    }
    unsupported_.add(fmt::format("key '{}': expected one of {}, got {}", key, names_of(table), found->dump()));
  }

  /// The key must be absent, null, false or `honoured`.
  void only(const char* key, const Json& honoured) {
    const Json* found = value(key);
    if (found == nullptr || *found == honoured || *found == Json(false)) return;
    unsupported_.add(fmt::format("key '{}': expected {}, got {}", key, honoured.is_null() ? "none" : honoured.dump(), found->dump()));
  }

  void refuse(std::string problem) { unsupported_.add(std::move(problem)); }

  void finish() {
    std::vector<std::string> idle, candidates = known_keys();
    for (const auto& [key, found] : config_.items()) {
      const bool known = std::find(candidates.begin(), candidates.end(), key) != candidates.end();
      if (!known && !key.starts_with('_') && !found.is_null() && found != Json(false)) {
        wrong_.add(fmt::format("key '{}' is not known{}", key, did_you_mean(key, candidates)));
      }
      if (known && found == Json(true) && !reads(key) &&
          std::find(kQuietSwitches.begin(), kQuietSwitches.end(), key) == kQuietSwitches.end()) {
        idle.push_back(key);
      }
    }
    wrong_.raise_if_any("is this a scheduler_config.json of diffusers?");
    unsupported_.raise_if_any("a sampler without this setting would draw other pictures than the folder means");
    if (!idle.empty()) {
      log(LogLevel::warning, "diffusion",
          fmt::format("{}: the sampler '{}' has no {}; the file's setting changes nothing", where_, kind_.name, fmt::join(idle, ", ")));
    }
  }

 private:
  static bool is_number(const Json& value) { return value.is_number(); }

  bool reads(std::string_view key) const {
    return kind_.reads(key) || key == "shift" ||
           (kind_.name != "flow_euler" && std::find(kCommon.begin(), kCommon.end(), key) != kCommon.end()) || key == "num_train_timesteps";
  }

  const Json* value(const char* key) const {
    const auto found = config_.find(key);
    return found == config_.end() || found->is_null() || !reads(key) ? nullptr : &*found;
  }

  static std::vector<std::string> known_keys() {
    std::set<std::string_view> keys(kCommon.begin(), kCommon.end());
    keys.insert(kQuietSwitches.begin(), kQuietSwitches.end());
    keys.insert(kIdle.begin(), kIdle.end());
    keys.insert("shift");
    for (const SamplerKind* kind : sampler_kinds()) keys.insert(kind->keys.begin(), kind->keys.end());
    return {keys.begin(), keys.end()};
  }

  const Json& config_;
  std::string where_;
  const SamplerKind& kind_;
  Problems wrong_, unsupported_;
};

const SamplerKind& kind_of_class(std::string_view name, const std::string& where) {
  std::vector<std::string> names;
  for (const SamplerKind* kind : sampler_kinds()) {
    if (kind->diffusers_class == name) return *kind;
    names.emplace_back(kind->diffusers_class);
  }
  names.emplace_back(kPndm);
  fail(ErrorKind::unsupported, where,
       fmt::format("expected '_class_name' to be one of {}, got '{}'{}", fmt::join(names, ", "), name, did_you_mean(name, names)));
}

SchedulerConfig defaults_of(const SamplerKind& file, const SamplerKind& used, bool pndm) {
  SchedulerConfig config = used.defaults;
  if (pndm) config.alpha_to_one = false;
  if (pndm || &file != &used) config.clip_sample = false;
  if (file.defaults.is_flow()) config.prediction = Prediction::flow;
  return config;
}

void read_model_keys(Reader& reader, SchedulerConfig& config) {
  reader.read("num_train_timesteps", config.train_timesteps);
  reader.read("beta_schedule", config.beta_schedule);
  reader.read("beta_start", config.beta_start);
  reader.read("beta_end", config.beta_end);
  reader.read("trained_betas", config.trained_betas);
  reader.read("rescale_betas_zero_snr", config.zero_terminal_snr);
  reader.read("shift", config.shift);
  reader.read("flow_shift", config.shift);
  reader.choose("prediction_type", kPredictions, config.prediction);
}

void read_sampler_keys(Reader& reader, SchedulerConfig& config) {
  reader.choose("timestep_spacing", kSpacings, config.spacing);
  reader.read("steps_offset", config.steps_offset);
  reader.read("use_karras_sigmas", config.karras);
  reader.read("sigma_min", config.sigma_min);
  reader.read("sigma_max", config.sigma_max);
  reader.choose("final_sigmas_type", std::array{std::pair{true, "zero"}, std::pair{false, "sigma_min"}}, config.final_sigma_zero);
  reader.read("clip_sample", config.clip_sample);
  reader.read("clip_sample_range", config.clip_range);
  reader.read("set_alpha_to_one", config.alpha_to_one);
  reader.choose("variance_type", std::array{std::pair{false, "fixed_small"}, std::pair{true, "fixed_large"}}, config.large_variance);
  reader.choose("solver_type", std::array{std::pair{true, "midpoint"}, std::pair{false, "heun"}}, config.midpoint);
  reader.read("lower_order_final", config.lower_order_final);
  reader.read("euler_at_final", config.euler_at_final);
  reader.read("lambda_min_clipped", config.lambda_min_clipped);
  reader.only("algorithm_type", "dpmsolver++");
  reader.only("solver_order", 2);
  reader.only("interpolation_type", "linear");
  reader.only("timestep_type", "discrete");
  for (const char* key : {"thresholding", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_dynamic_shifting",
                          "invert_sigmas", "shift_terminal", "stochastic_sampling"}) {
    reader.only(key, Json());
  }
}

}  // namespace

std::string_view to_string(Prediction prediction) { return name_in(kPredictions, prediction); }
std::string_view to_string(Spacing spacing) { return name_in(kSpacings, spacing); }
Prediction parse_prediction(std::string_view name) { return value_in(kPredictions, name, "prediction_type"); }
Spacing parse_spacing(std::string_view name) { return value_in(kSpacings, name, "timestep_spacing"); }

SchedulerConfig parse_scheduler_config(const Json& json, const std::string& where, std::string_view sampler) {
  const bool automatic = sampler.empty() || sampler == "auto";
  check(json.is_object(), ErrorKind::file_format, where, "expected an object of scheduler settings");
  const auto name = json_get<std::string>(json, "_class_name", "", where);
  const bool pndm = name == kPndm;
  const SamplerKind& file = pndm ? sampler_named("ddim") : kind_of_class(name, where);
  const SamplerKind& used = automatic ? file : sampler_named(sampler);
  if (pndm && automatic) {
    log(LogLevel::warning, "diffusion", fmt::format("{}: PNDMScheduler is not built; DDIM is used in its place", where));
  }

  SchedulerConfig config = defaults_of(file, used, pndm);
  Reader reader(json, where, used);
  read_model_keys(reader, config);
  read_sampler_keys(reader, config);
  bool flow_sigmas = file.defaults.is_flow();
  reader.read("use_flow_sigmas", flow_sigmas);
  if (config.is_flow() != flow_sigmas) {
    reader.refuse(fmt::format("expected 'use_flow_sigmas' where 'prediction_type' is flow_prediction and only there, got {} and {}",
                              flow_sigmas, to_string(config.prediction)));
  }
  reader.finish();

  check(used.runs(config.prediction), ErrorKind::invalid_argument, where, "the sampler '{}' cannot run a model that predicts '{}'",
        used.name, to_string(config.prediction));
  validate(config, where);
  return config;
}

SchedulerConfig read_scheduler_config(const std::filesystem::path& path, std::string_view sampler) {
  return parse_scheduler_config(read_python_json(path), path.string(), sampler);  // lambda_min_clipped is -Infinity
}

void validate(const SchedulerConfig& config, const std::string& where) {
  Problems problems(ErrorKind::invalid_argument, where);
  const auto expect = [&](bool ok, std::string problem) {
    if (!ok) problems.add(std::move(problem));
  };
  const auto count = static_cast<int64_t>(config.trained_betas.size());
  expect(config.train_timesteps >= 2 && config.train_timesteps <= 1'000'000,
         fmt::format("num_train_timesteps: expected 2 to 1000000, got {}", config.train_timesteps));
  expect(config.steps_offset >= 0, fmt::format("steps_offset: expected at least 0, got {}", config.steps_offset));
  expect(config.shift > 0, fmt::format("shift: expected more than 0, got {}", config.shift));
  expect(config.clip_range > 0, fmt::format("clip_sample_range: expected more than 0, got {}", config.clip_range));
  expect(config.eta >= 0 && config.eta <= 1, fmt::format("eta: expected 0 to 1, got {}", config.eta));
  expect(config.final_sigma_zero || !config.is_flow(), "final_sigmas_type: expected 'zero' for a flow model, got 'sigma_min'");
  const bool named =
      config.beta_schedule == "linear" || config.beta_schedule == "scaled_linear" || config.beta_schedule == "squaredcos_cap_v2";
  expect(named || count > 0,
         fmt::format("beta_schedule: expected one of linear, scaled_linear, squaredcos_cap_v2, got '{}'", config.beta_schedule));
  const auto is_beta = [](double beta) { return beta >= 0 && beta < 1; };
  expect(is_beta(config.beta_start) && is_beta(config.beta_end),
         fmt::format("beta_start and beta_end: expected 0 to below 1, got {} and {}", config.beta_start, config.beta_end));
  expect(count == 0 || count == config.train_timesteps,
         fmt::format("trained_betas: expected num_train_timesteps ({}) numbers, got {}", config.train_timesteps, count));
  expect(std::all_of(config.trained_betas.begin(), config.trained_betas.end(), is_beta),
         "trained_betas: expected numbers from 0 to below 1");
  problems.raise_if_any();
}

}  // namespace lowrank::diffusion
