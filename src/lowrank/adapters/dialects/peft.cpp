#include "lowrank/adapters/dialects/peft.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/isfinite.h>
#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "lowrank/adapters/dialects/peft_config.h"
#include "lowrank/adapters/dialects/peft_keys.h"
#include "lowrank/adapters/targets.h"
#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/log.h"

namespace lowrank::adapters {

namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr int64_t kNotesFormat = 1;

// Where a file's suffix differs from ours. The first of several with the same name of ours is the one for linear
// layers.
constexpr std::array<std::array<std::string_view, 2>, 4> kSuffixes = {
    {{".lora_A.weight", ".lora_A"}, {".lora_B.weight", ".lora_B"}, {".lora_embedding_A", ".lora_A"}, {".lora_embedding_B", ".lora_B"}}};

std::string key_of(const std::string& module, const std::string& tensor, bool one_hot) {
  const std::string suffix = "." + tensor;
  for (const auto& [theirs, ours] : kSuffixes) {
    if (ours == suffix && theirs.starts_with(".lora_embedding") == one_hot) return fmt::format("{}{}{}", kPrefix, module, theirs);
  }
  return fmt::format("{}{}{}", kPrefix, module, suffix);
}

std::string name_of(std::string_view key) {
  key.remove_prefix(kPrefix.size());
  for (const auto& [theirs, ours] : kSuffixes) {
    if (key.ends_with(theirs)) return fmt::format("{}{}", key.substr(0, key.size() - theirs.size()), ours);
  }
  constexpr std::string_view kWrappedBias = ".base_layer.bias";
  if (key.ends_with(kWrappedBias)) return fmt::format("{}.bias", key.substr(0, key.size() - kWrappedBias.size()));
  return std::string(key);
}

// "classifier.<wrapper>.bias" → "classifier.bias", nullopt when there is no such wrapper in the name.
std::optional<std::string> without_wrapper(const std::string& name, std::string_view wrapper) {
  const std::string dotted = fmt::format(".{}.", wrapper);
  const size_t at = name.find(dotted);
  if (at == std::string::npos) return std::nullopt;
  return name.substr(0, at) + name.substr(at + dotted.size() - 1);
}

// With bias "all" PEFT stores heads' biases three times: under their own name, once more as "modules_to_save", and the
// base's as "original_module", which its wrapper never uses again.
void drop_wrapper_copies(tensor::TensorMap& tensors, Problems& problems) {
  for (auto entry = tensors.begin(); entry != tensors.end();) {
    const auto copy = without_wrapper(entry->first, "modules_to_save");
    const auto original = without_wrapper(entry->first, "original_module");
    if (!copy && !original) {
      ++entry;
      continue;
    }
    const auto plain = tensors.find(copy ? *copy : *original);
    if (plain == tensors.end() || (copy && !at::equal(plain->second, entry->second))) {
      problems.add(fmt::format("tensor '{}': expected a copy of '{}'", entry->first, copy ? *copy : *original));
    }
    entry = tensors.erase(entry);
  }
}

tensor::TensorMap read_tensors(const std::filesystem::path& folder) {
  const auto path = folder / "adapter_model.safetensors";
  if (!std::filesystem::exists(path) && std::filesystem::exists(folder / "adapter_model.bin")) {
    fail(ErrorKind::unsupported, folder.string(),
         "expected adapter_model.safetensors, got adapter_model.bin, a pickle, which runs code when read",
         "load it in PEFT and save it with safe_serialization=True");
  }
  tensor::TensorMap tensors;
  Problems problems(ErrorKind::file_format, path.string());
  for (auto& [key, value] : tensor::load_tensors(path)) {
    if (!key.starts_with(kPrefix)) {
      problems.add(fmt::format("tensor '{}': expected a name that starts with {}", key, kPrefix));
    } else if (!value.is_floating_point()) {
      problems.add(fmt::format("tensor '{}': expected floating point, got {}", key, c10::toString(value.scalar_type())));
    } else if (!at::isfinite(value.to(at::kFloat)).all().item<bool>()) {
      problems.add(fmt::format("tensor '{}' holds NaN or infinity", key));
    } else if (!tensors.emplace(name_of(key), value).second) {
      problems.add(fmt::format("tensor '{}' appears in two spellings", name_of(key)));
    }
  }
  drop_wrapper_copies(tensors, problems);
  problems.raise_if_any();
  return tensors;
}

std::set<std::string> adapted_modules(const PeftFolder& folder) {
  const auto* type = peft_type_named(folder.config.method->peft().peft_type);
  std::set<std::string> modules;
  for (const auto& [name, value] : folder.tensors) {
    const size_t dot = name.rfind('.');
    if (dot != std::string::npos && std::string_view(name).substr(dot + 1).starts_with(type->tensor_prefix))
      modules.insert(name.substr(0, dot));
  }
  return modules;
}

std::set<std::string> as_set(const std::vector<std::string>& list) { return {list.begin(), list.end()}; }

// Ranks and scales are compared module by module in load_peft, where the layers' shapes are known.
void check_agreement(const PeftFolder& folder) {
  const AdapterConfig &ours = folder.config, &theirs = folder.spelled;
  Problems problems(ErrorKind::file_format, folder.path.string());
  const auto compare = [&](std::string_view what, const Json& in_ours, const Json& in_theirs) {
    if (in_ours == in_theirs) return;
    problems.add(fmt::format("lowrank.json and adapter_config.json disagree on {}: {} against {}", what, in_ours.dump(), in_theirs.dump()));
  };
  compare("the method", ours.method->name(), theirs.method->name());
  problems.raise_if_any();
  AdapterConfig one = ours, other = theirs;
  OptionTable first, second;
  one.declare(first);
  other.declare(second);
  for (const auto& [option, key] : peft_option_keys(*ours.method))
    compare(key, first.at(option, key).value(), second.at(option, key).value());
  // The targets as they are, or the modules that they chose.
  if (!peft_can_name_targets(ours) || adapted_modules(folder) == as_set(theirs.target_modules)) {
    compare("target_modules", adapted_modules(folder), as_set(theirs.target_modules));
  } else {
    compare("target_modules", as_set(ours.target_modules), as_set(theirs.target_modules));
    compare("exclude_modules", as_set(ours.exclude_modules), as_set(theirs.exclude_modules));
    compare("layers_to_transform", ours.layers, theirs.layers);
    compare("layers_pattern", ours.layers_pattern, theirs.layers_pattern);
  }
  problems.raise_if_any("write the folder again, or delete lowrank.json to take adapter_config.json alone");
}

void read_notes(PeftFolder& folder) {
  const auto path = folder.path / "lowrank.json";
  if (!std::filesystem::exists(path)) return;
  Json notes = read_json(path);
  check(notes.is_object() && notes.contains("format") && notes.contains("adapter"), ErrorKind::file_format, path.string(),
        "expected an object with 'format' and 'adapter'");
  check(notes["format"] == kNotesFormat, ErrorKind::unsupported, path.string(), "expected format {}, got {}", kNotesFormat,
        notes["format"].dump());
  folder.config = AdapterConfig::from_json(notes["adapter"]);
  notes.erase("format");
  notes.erase("adapter");
  folder.context.notes = std::move(notes);
  check_agreement(folder);
}

// PEFT keeps the magnitudes of a convolution ready to multiply its kernels.
std::vector<int64_t> stored_shape(const TensorSpec& spec, const nn::HostShape& host) {
  const bool per_kernel = host.is_convolution() && spec.name == "lora_magnitude_vector";
  return per_kernel ? std::vector<int64_t>{1, host.out, 1, 1} : spec.shape;
}

void warn_of_dilation(const AdapterSet& set) {
  std::vector<std::string> dilated;
  for (const auto& entry : set.modules) {
    if (entry.host->shape().dilated) dilated.push_back(entry.module);
  }
  if (dilated.empty() || set.config.method->peft().peft_type != "LORA") return;
  log(LogLevel::warning, "adapters",
      fmt::format("PEFT's LoRA leaves the dilation out of lora_A: merge the folder there before use, for {}", fmt::join(dilated, ", ")));
}

struct Expected {
  tensor::TensorMap parameters;                        // heads and biases: where each tensor goes
  std::map<std::string, std::vector<int64_t>> shapes;  // every tensor of the folder
};

// The folder's configuration with the targets as PEFT's file has them: resolved where PEFT could not have named them.
AdapterConfig with_spelled_targets(const PeftFolder& folder) {
  AdapterConfig config = folder.config;
  config.target_modules = folder.spelled.target_modules;
  config.exclude_modules = folder.spelled.exclude_modules;
  config.layers = folder.spelled.layers;
  config.layers_pattern = folder.spelled.layers_pattern;
  return config;
}

Expected expect(torch::nn::Module& model, const PeftFolder& folder, const std::vector<std::string>& heads) {
  Expected expected;
  const auto hosts = choose_hosts(model, with_spelled_targets(folder), heads, Origin::file);
  Problems problems(ErrorKind::file_format, folder.path.string());
  for (const auto& [module, host] : hosts) {
    const ModuleOptions options = folder.config.for_module(module, host->shape());
    folder.config.method->peft_module(options, host->shape());  // refuses what would be another update there
    for (const auto& spec : folder.config.method->tensors(options, host->shape())) {
      expected.shapes[module + "." + spec.name] = stored_shape(spec, host->shape());
    }
    if (auto difference = difference_for(folder.config, folder.spelled, module, host->shape()); !difference.empty()) {
      problems.add("lowrank.json and adapter_config.json disagree: " + difference);
    }
  }
  problems.raise_if_any("write the folder again, or delete lowrank.json to take adapter_config.json alone");
  const auto biases = trained_biases(model, folder.config, hosts, heads);
  for (const auto& entry : model.named_parameters()) {
    const bool is_bias = std::find(biases.begin(), biases.end(), entry.key()) != biases.end();
    if (!is_bias && !is_within(entry.key(), heads)) continue;
    expected.parameters[entry.key()] = entry.value();
    expected.shapes[entry.key()] = entry.value().sizes().vec();
  }
  return expected;
}

void check_tensors(const PeftFolder& folder, const Expected& expected) {
  Problems problems(ErrorKind::file_format, folder.path.string());
  for (const auto& [name, shape] : expected.shapes) {
    const auto found = folder.tensors.find(name);
    if (found == folder.tensors.end()) {
      problems.add(fmt::format("tensor '{}' {} is missing", name, tensor::shape_text(shape)));
    } else if (found->second.sizes() != at::IntArrayRef(shape)) {
      problems.add(fmt::format("tensor '{}': expected shape {}, got {}", name, tensor::shape_text(shape),
                               tensor::shape_text(found->second.sizes())));
    }
  }
  for (const auto& [name, value] : folder.tensors) {
    if (!expected.shapes.contains(name))
      problems.add(fmt::format("tensor '{}' is unexpected: no such place in this model and configuration", name));
  }
  problems.raise_if_any(folder.context.base_model.empty() ? "does the adapter belong to another model?"
                                                          : fmt::format("the adapter was made for {}", folder.context.base_model));
}

}  // namespace

PeftFolder read_peft(const std::filesystem::path& folder) {
  const auto path = folder / "adapter_config.json";
  if (!std::filesystem::exists(path)) {
    const bool file = std::filesystem::is_regular_file(folder);
    fail(ErrorKind::io, folder.string(), fmt::format("expected a folder with adapter_config.json, found {}", file ? "a file" : "none"),
         file ? "adapters in single files are those of image models" : "");
  }
  auto [config, context] = parse_peft_config(read_json(path), path.string());
  PeftFolder result{folder, config, config, std::move(context), read_tensors(folder)};
  read_notes(result);
  return result;
}

void check_peft(const AdapterSet& set) {
  const PeftSpelling spelling = set.config.method->peft();
  check(set.config.bias == "none" || peft_key(spelling.peft_type, "bias") != nullptr, ErrorKind::unsupported, "bias",
        "PEFT's {} has no trained biases: expected bias none, got {}", spelling.peft_type, set.config.bias);
  const AdapterConfig reread = parse_peft_config(format_peft_config(set, {}), "adapter_config.json").config;
  Problems problems(ErrorKind::unsupported, "PEFT folder");
  for (const auto& entry : set.modules) {
    if (auto difference = difference_for(set.config, reread, entry.module, entry.host->shape()); !difference.empty())
      problems.add(std::move(difference));
  }
  problems.raise_if_any("PEFT has no key for one of this method's options; leave that option at its default");
}

void write_peft(const std::filesystem::path& folder, const AdapterSet& set, const tensor::TensorMap& heads, const PeftContext& context) {
  check_peft(set);
  warn_of_dilation(set);
  tensor::TensorMap tensors;
  std::set<std::string> adapted;
  for (const auto& [module, host, adapter, options] : set.modules) {
    adapted.insert(module + ".bias");
    const nn::HostShape shape = host->shape();
    for (const auto& spec : set.config.method->tensors(options, shape)) {
      tensors[key_of(module, spec.name, shape.one_hot_input)] = adapter->named_parameters()[spec.name].view(stored_shape(spec, shape));
    }
  }
  for (const auto& [name, bias] : set.biases) {
    const std::string module = name.substr(0, name.size() - std::min(name.size(), std::string_view(".bias").size()));
    tensors[adapted.contains(name) ? fmt::format("{}{}.base_layer.bias", kPrefix, module) : fmt::format("{}{}", kPrefix, name)] = bias;
  }
  for (const auto& [name, value] : heads) {
    check(tensors.emplace(fmt::format("{}{}", kPrefix, name), value).second, ErrorKind::internal, "write_peft", "'{}' is written twice",
          name);
  }
  tensor::save_tensors(folder / "adapter_model.safetensors", tensors, {{"format", "pt"}});
  write_file_atomic(folder / "adapter_config.json", format_json(format_peft_config(set, context)));
  Json notes = context.notes;
  notes["format"] = kNotesFormat;
  notes["adapter"] = set.config.to_json();
  write_file_atomic(folder / "lowrank.json", format_json(notes));
}

AdapterSet load_peft(torch::nn::Module& model, const PeftFolder& folder, const std::vector<std::string>& heads, const std::string& name) {
  std::vector<std::string> in_full = heads;
  in_full.insert(in_full.end(), folder.context.modules_to_save.begin(), folder.context.modules_to_save.end());
  const Expected expected = expect(model, folder, in_full);
  check_tensors(folder, expected);
  AdapterSet set = attach(model, with_spelled_targets(folder), in_full, name, Origin::file);
  set.config = folder.config;
  const at::NoGradGuard no_grad;
  for (const auto& [module, host, adapter, options] : set.modules) {
    for (auto& entry : adapter->named_parameters())
      entry.value().copy_(folder.tensors.at(module + "." + entry.key()).view(entry.value().sizes()));
  }
  for (const auto& [parameter, value] : expected.parameters) value.copy_(folder.tensors.at(parameter));
  return set;
}

}  // namespace lowrank::adapters
