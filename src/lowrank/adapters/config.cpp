#include "lowrank/adapters/config.h"

#include <charconv>
#include <cmath>

#include "lowrank/adapters/pattern.h"
#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

template <class T>
void write_patterns(Json& json, const PatternList<T>& list) {
  json = Json::array();
  for (const auto& [key, value] : list.entries) json.push_back(fmt::format("{}={}", key, value));
}

// The value follows the last '=', since expressions may hold one.
template <class T>
void read_patterns(const Json& json, PatternList<T>& list) {
  PatternList<T> read;
  for (const auto& item : json) {
    const auto text = item.get<std::string>();
    const size_t equals = text.rfind('=');
    T value{};
    const char *first = text.data() + (equals == std::string::npos ? text.size() : equals + 1), *last = text.data() + text.size();
    const auto [stop, code] = std::from_chars(first, last, value);
    const bool usable = code == std::errc() && stop == last && std::isfinite(static_cast<double>(value)) && value > 0;
    check(equals != 0 && usable, ErrorKind::invalid_argument, "pattern",
          "expected 'module=number' with a number over 0, as in 'layer.5.output.dense=8', got '{}'", text);
    read.entries.emplace_back(text.substr(0, equals), value);
  }
  list = std::move(read);
}

}  // namespace

void to_json(Json& json, const PatternList<int64_t>& list) { write_patterns(json, list); }
void to_json(Json& json, const PatternList<double>& list) { write_patterns(json, list); }
void from_json(const Json& json, PatternList<int64_t>& list) { read_patterns(json, list); }
void from_json(const Json& json, PatternList<double>& list) { read_patterns(json, list); }

template <class T>
T PatternList<T>::value_for(const std::string& module, T otherwise) const {
  for (const auto& [key, value] : entries) {
    if (suffix_pattern(key, "pattern").matches(module)) return value;
  }
  return otherwise;
}
template struct PatternList<int64_t>;
template struct PatternList<double>;

void AdapterConfig::declare(OptionTable& table) {
  const std::string group = "adapter";
  table.add("rank", rank, "rank R of the update").range(1, 65536).group(group);
  table.add("alpha", alpha, "strength: the update is scaled by alpha/rank").range(1e-9, 1e9).group(group);
  table.add("conv-rank", conv_rank, "rank of convolutions with kernels larger than 1x1; 0: as rank").range(0, 65536).group(group);
  table.add("conv-alpha", conv_alpha, "alpha of those; 0: as alpha").range(0, 1e9).group(group);
  table.add("target-modules", target_modules, "layers to adapt: name suffixes, globs, re:<regex>, all-linear, all-conv, or all")
      .group(group);
  table.add("exclude-modules", exclude_modules, "layers to leave out, named in the same ways").group(group);
  table.add("layers", layers, "adapt only layers with these numbers (default: all)").range(0, 1e6).group(group);
  table.add("layers-pattern", layers_pattern, "name before the layer number, as in 'layer' (default: the first number)").group(group);
  table.add("bias", bias, "base biases that train too").choices({"none", "all", "lora_only"}).group(group);
  table.add("rank-pattern", rank_pattern, "rank of some modules: module=rank, first match wins").group(group);
  table.add("alpha-pattern", alpha_pattern, "alpha of some modules: module=alpha, first match wins").group(group);
  options->declare(table);
}

ModuleOptions AdapterConfig::for_module(const std::string& module, const nn::HostShape& host) const {
  const bool kernel = host.taps() > 1;
  return {.module = module,
          .rank = rank_pattern.value_for(module, kernel && conv_rank > 0 ? conv_rank : rank),
          .alpha = alpha_pattern.value_for(module, kernel && conv_alpha > 0 ? conv_alpha : alpha),
          .seed = seed,
          .method = options.get()};
}

Json AdapterConfig::to_json() const {
  AdapterConfig copy = *this;
  OptionTable table;
  copy.declare(table);
  Json json = table.resolved();
  json["method"] = method->name();
  json["seed"] = seed;
  return json;
}

AdapterConfig AdapterConfig::from_json(const Json& value) {
  constexpr std::string_view kWhere = "adapter configuration";
  check(value.is_object(), ErrorKind::invalid_argument, kWhere, "expected an object, got {}", value.type_name());
  AdapterConfig config = make_config(json_get<std::string>(value, "method", "", kWhere));
  config.seed = json_get<uint64_t>(value, "seed", config.seed, kWhere);
  Json rest = value;
  rest.erase("method");
  rest.erase("seed");
  OptionTable table;
  config.declare(table);
  table.apply(rest, kWhere);
  return config;
}

AdapterConfig make_config(std::string_view method) {
  AdapterConfig config;
  config.method = &method_named(method);
  config.options = config.method->make_options();
  return config;
}

}  // namespace lowrank::adapters
