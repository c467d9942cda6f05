#include "lowrank/adapters/attach.h"

#include <algorithm>
#include <set>

#include "lowrank/adapters/targets.h"
#include "lowrank/base/error.h"
#include "lowrank/base/log.h"
#include "lowrank/base/random.h"

namespace lowrank::adapters {

namespace {

using Hosts = std::vector<std::pair<std::string, nn::Host*>>;

constexpr size_t kShownNames = 12;

std::string shorten(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kShownNames);
  return fmt::format("{}{}", fmt::join(names.begin(), names.begin() + static_cast<long>(shown), ", "),
                     shown < names.size() ? fmt::format(", … ({} in all)", names.size()) : "");
}

// Every name by which a target could mean one of these modules: the module's own and each dotted suffix.
std::vector<std::string> suffixes_of(const Hosts& hosts, size_t components) {
  std::set<std::string> found;
  for (const auto& [name, host] : hosts) {
    size_t at = name.size();
    for (size_t i = 0; i < components && at != std::string::npos; ++i) at = at == 0 ? std::string::npos : name.rfind('.', at - 1);
    found.insert(at == std::string::npos ? name : name.substr(at + 1));
  }
  return {found.begin(), found.end()};
}

struct Candidates {
  Hosts hosts;                        // outside the heads
  std::vector<std::string> others;    // modules that are no hosts
  std::vector<std::string> in_heads;  // hosts in the heads
};

Candidates candidates_of(torch::nn::Module& model, const std::vector<std::string>& heads) {
  Candidates all;
  for (const auto& entry : model.named_modules("", /*include_self=*/false)) {
    auto* host = dynamic_cast<nn::Host*>(entry.value().get());
    if (host == nullptr) {
      all.others.push_back(entry.key());
    } else if (is_within(entry.key(), heads)) {
      all.in_heads.push_back(entry.key());
    } else {
      all.hosts.emplace_back(entry.key(), host);
    }
  }
  return all;
}

std::string why_unmatched(const Target& target, const Candidates& all) {
  const auto matching = [&](const std::vector<std::string>& names) {
    std::vector<std::string> found;
    std::copy_if(names.begin(), names.end(), std::back_inserter(found), [&](const auto& name) { return target.matches(name, ""); });
    return found;
  };
  if (const auto heads = matching(all.in_heads); !heads.empty()) {
    return fmt::format("'{}' matches only {}, which trains in full as part of the head", target.text(), shorten(heads));
  }
  if (const auto others = matching(all.others); !others.empty()) {
    return fmt::format("'{}' matches {}, but no layer that an adapter can go on", target.text(), shorten(others));
  }
  const auto components = static_cast<size_t>(1 + std::count(target.text().begin(), target.text().end(), '.'));
  const bool is_name = target.kind() == Target::Kind::name;
  return fmt::format("'{}' matches no layer of this model{}", target.text(),
                     is_name ? did_you_mean(target.text(), suffixes_of(all.hosts, components)) : "");
}

void report_unmatched(const std::vector<Target>& targets, const Candidates& all, std::string_view where, bool refuse) {
  Problems problems(ErrorKind::invalid_argument, std::string(where));
  for (const auto& target : targets) {
    const bool used = std::any_of(all.hosts.begin(), all.hosts.end(),
                                  [&](const auto& entry) { return target.matches(entry.first, entry.second->shape().kind); });
    if (used) continue;
    problems.add(why_unmatched(target, all));
    if (!refuse) log(LogLevel::info, "adapters", fmt::format("{}: {}", where, why_unmatched(target, all)));
  }
  if (refuse) problems.raise_if_any(fmt::format("adaptable layers of this model end in: {}", shorten(suffixes_of(all.hosts, 1))));
}

bool matches_any(const std::vector<Target>& targets, const std::string& name, const nn::Host& host) {
  const std::string_view kind = host.shape().kind;
  return std::any_of(targets.begin(), targets.end(), [&](const Target& target) { return target.matches(name, kind); });
}

// PEFT exempts modules that are listed by their full name.
bool is_chosen_layer(const AdapterConfig& config, const std::string& name) {
  if (config.layers.empty() || std::find(config.target_modules.begin(), config.target_modules.end(), name) != config.target_modules.end()) {
    return true;
  }
  const auto number = layer_number(name, config.layers_pattern);
  return number && std::find(config.layers.begin(), config.layers.end(), *number) != config.layers.end();
}

void check_rank(const AdapterConfig& config, const ModuleOptions& options, const nn::HostShape& shape) {
  // B·A of rank min(O, I) is every matrix already; LoKr's factors never grow to this size.
  int64_t numel = 0;
  for (const auto& tensor : config.method->tensors(options, shape)) {
    int64_t product = 1;
    for (const int64_t size : tensor.shape) product *= size;
    numel += product;
  }
  const int64_t largest = std::min(shape.out, shape.in);
  check(numel <= largest * (shape.out + shape.in) + shape.out, ErrorKind::invalid_argument, "rank",
        "expected at most {} for layer '{}' of {} x {}, got {}", largest, options.module, shape.out, shape.in, options.rank);
}

void check_patterns(const AdapterConfig& config, const Hosts& hosts) {
  Problems problems(ErrorKind::invalid_argument, "rank-pattern, alpha-pattern");
  const auto check_key = [&](const std::string& key) {
    const NamePattern pattern = suffix_pattern(key, "pattern");
    const bool used = std::any_of(hosts.begin(), hosts.end(), [&](const auto& entry) { return pattern.matches(entry.first); });
    if (!used) problems.add(fmt::format("'{}' matches no adapted module{}", key, did_you_mean(key, suffixes_of(hosts, 1))));
  };
  for (const auto& [key, value] : config.rank_pattern.entries) check_key(key);
  for (const auto& [key, value] : config.alpha_pattern.entries) check_key(key);
  problems.raise_if_any("a key is a module's name, a dotted suffix of it, or a regular expression for either");
}

}  // namespace

std::vector<std::pair<std::string, at::Tensor>> AdapterSet::parameters() const {
  std::vector<std::pair<std::string, at::Tensor>> all;
  for (const auto& [module, host, adapter, options] : modules) {
    for (const auto& entry : adapter->named_parameters()) all.emplace_back(module + "." + entry.key(), entry.value());
  }
  all.insert(all.end(), biases.begin(), biases.end());
  return all;
}

int64_t AdapterSet::parameter_count() const {
  int64_t count = 0;
  for (const auto& [parameter, tensor] : parameters()) count += tensor.numel();
  return count;
}

Hosts choose_hosts(torch::nn::Module& model, const AdapterConfig& config, const std::vector<std::string>& heads, Origin origin) {
  const auto targets = parse_targets(config.target_modules, "target-modules");
  const auto excluded = parse_targets(config.exclude_modules, "exclude-modules");
  check(!targets.empty(), ErrorKind::invalid_argument, "target-modules", "expected at least one entry, got none",
        "all-linear adapts every linear layer");
  const Candidates all = candidates_of(model, heads);
  const bool any =
      std::any_of(all.hosts.begin(), all.hosts.end(), [&](const auto& entry) { return matches_any(targets, entry.first, *entry.second); });
  report_unmatched(targets, all, "target-modules", origin == Origin::user || !any);
  report_unmatched(excluded, all, "exclude-modules", origin == Origin::user);

  Hosts chosen;
  Problems unsupported(ErrorKind::unsupported, "target-modules");
  for (const auto& [name, host] : all.hosts) {
    if (!matches_any(targets, name, *host) || matches_any(excluded, name, *host) || !is_chosen_layer(config, name)) continue;
    if (!config.method->supports(host->shape())) {
      unsupported.add(fmt::format("{} cannot adapt '{}', which is of kind {}", config.method->title(), name, host->shape().kind));
    }
    chosen.emplace_back(name, host);
  }
  unsupported.raise_if_any("leave them out with --exclude-modules, or choose another method");
  check(!chosen.empty(), ErrorKind::invalid_argument, "target-modules", "exclude-modules and layers leave nothing of {}",
        fmt::join(config.target_modules, ", "));
  return chosen;
}

std::vector<std::string> trained_biases(torch::nn::Module& model, const AdapterConfig& config, const Hosts& hosts,
                                        const std::vector<std::string>& heads) {
  std::vector<std::string> names;
  if (config.bias == "lora_only") {
    for (const auto& [name, host] : hosts) {
      if (host->bias().defined()) names.push_back(name + ".bias");
    }
  } else if (config.bias == "all") {
    for (const auto& entry : model.named_parameters()) {
      const std::string& name = entry.key();
      if ((name == "bias" || name.ends_with(".bias")) && !is_within(name, heads)) names.push_back(name);
    }
  }
  return names;
}

AdapterSet attach(torch::nn::Module& model, const AdapterConfig& config, const std::vector<std::string>& heads, const std::string& name,
                  Origin origin) {
  const Hosts hosts = choose_hosts(model, config, heads, origin);
  if (origin == Origin::user) check_patterns(config, hosts);
  AdapterSet set{name, config, heads, {}, {}};
  for (const auto& [module, host] : hosts) {
    const ModuleOptions options = config.for_module(module, host->shape());
    if (origin == Origin::user) check_rank(config, options, host->shape());
    set.modules.push_back({module, host, config.method->create(options, *host), options});
  }
  AdapterSet attached{name, config, heads, {}, {}};
  try {
    for (auto& entry : set.modules) {
      entry.host->attach(name, entry.adapter, RandomStream(0, entry.module).next_u64());
      attached.modules.push_back(entry);
    }
  } catch (...) {
    detach(attached);
    throw;
  }
  const auto parameters = model.named_parameters();
  for (const auto& bias : trained_biases(model, config, hosts, heads)) {
    set.biases.emplace_back(bias, parameters[bias]);
    set.biases.back().second.set_requires_grad(true);
  }
  return set;
}

void detach(const AdapterSet& set) {
  for (const auto& entry : set.modules) entry.host->detach(set.name);
  for (const auto& [name, bias] : set.biases) bias.set_requires_grad(false);
}

}  // namespace lowrank::adapters
