#include "lowrank/generate/adapted_pipeline.h"

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "lowrank/adapters/dialects/dialect.h"
#include "lowrank/adapters/dialects/live.h"
#include "lowrank/adapters/dialects/peft_numbers.h"
#include "lowrank/base/error.h"

namespace lowrank::generate {

namespace {

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

bool lies_in(const std::string& name, const std::string& block) {
  return name.starts_with(block) && (name.size() == block.size() || name[block.size()] == '.');
}

/// The weight of the longest block that holds the module; notes that it was used.
double factor(const std::string& name, std::span<const BlockWeight> blocks, std::set<std::string>& used) {
  const BlockWeight* best = nullptr;
  for (const BlockWeight& one : blocks) {
    if (!lies_in(name, one.block)) continue;
    used.insert(one.block);
    if (best == nullptr || one.block.size() > best->block.size()) best = &one;
  }
  return best == nullptr ? 1.0 : best->weight;
}

void check_blocks(std::span<const BlockWeight> blocks, const std::set<std::string>& used) {
  Problems problems(ErrorKind::invalid_argument, "block weights");
  for (const BlockWeight& one : blocks) {
    if (!used.contains(one.block)) problems.add(fmt::format("no adapted layer lies in '{}'", one.block));
  }
  problems.raise_if_any("a block is a component or a path below it, as lowrank inspect names them: unet.down_blocks.1");
}

adapters::ReadAdapter read_fitting(const AdapterUse& use, const adapters::ModelLayout& layout) {
  const std::string where = use.path.string();
  adapters::ReadAdapter adapter = adapters::read_adapter(use.path, {where, &layout, ""});
  adapters::check_fit(adapter.record, layout, where);
  Problems unknown(ErrorKind::file_format, where);
  for (const std::string& tensor : adapter.record.unknown) unknown.add(tensor);
  unknown.raise_if_any("every tensor must have a meaning here: a part that is left out would change the picture in silence");
  return adapter;
}

/// Biases and norms are no hosts: their differences are added to the parameters, in place, and leave the record. Returns how many modules
/// left it whole.
size_t add_differences(torch::nn::Module& model, const std::string& component, adapters::AdapterRecord& record, double weight,
                       std::span<const BlockWeight> blocks, std::set<std::string>& used) {
  std::map<std::string, at::Tensor> parameters;
  for (const auto& entry : model.named_parameters()) parameters[adapters::checkpoint_path(component, entry.key())] = entry.value();
  std::set<std::string> hosts;
  for (const auto& [path, host] : nn::hosts_of(model)) hosts.insert(adapters::checkpoint_path(component, path));
  const auto add = [&](const adapters::ModuleRecord& module, const char* difference, const std::string& parameter) {
    const auto found = parameters.find(module.module + parameter);
    const at::Tensor& value = module.tensors.at(difference);
    check(found != parameters.end() && found->second.numel() == value.numel(), ErrorKind::shape, module.name(),
          "expected {} as the model has it, got one of {} numbers", parameter.substr(1), value.numel());
    at::Tensor& target = found->second;
    const double share = weight * factor(module.name(), blocks, used);
    target.copy_(target.to(at::kDouble) + share * value.to(target.device(), at::kDouble).reshape(target.sizes()));
  };
  return std::erase_if(record.modules, [&](adapters::ModuleRecord& module) {
    if (module.component != component) return false;
    if (module.has("diff_b")) {
      add(module, "diff_b", ".bias");
      module.tensors.erase("diff_b");
    }
    if (hosts.contains(module.module) || !module.has("diff")) return false;
    add(module, "diff", ".weight");
    return true;
  });
}

void set_multipliers(const std::vector<std::pair<std::string, nn::Host*>>& attached, const std::string& component, const std::string& name,
                     double weight, std::span<const BlockWeight> blocks, std::set<std::string>& used) {
  for (const auto& [path, host] : attached) {
    const double share = factor(component + "." + adapters::checkpoint_path(component, path), blocks, used);
    for (const auto& [label, adapter] : host->adapters()) {
      if (label == name) adapter->set_multiplier(weight * share);
    }
  }
}

}  // namespace

AdapterUse parse_adapter_use(const std::string& text) {
  AdapterUse use{text, 1.0};
  if (const size_t colon = text.rfind(':'); colon != std::string::npos) {
    if (const auto weight = number(std::string_view(text).substr(colon + 1))) use = {text.substr(0, colon), *weight};
  }
  check(!use.path.empty(), ErrorKind::invalid_argument, "adapter", "expected FILE or FILE:WEIGHT, got '{}'", text);
  return use;
}

BlockWeight parse_block_weight(const std::string& text) {
  const size_t equals = text.rfind('=');
  const auto weight = equals == std::string::npos ? std::nullopt : number(std::string_view(text).substr(equals + 1));
  check(weight.has_value() && equals > 0, ErrorKind::invalid_argument, "block weights", "expected BLOCK=WEIGHT, as in {}, got '{}'",
        "unet.mid_block=0.5", text);
  return {text.substr(0, equals), *weight};
}

std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>> adaptable_components(const models::Pipeline& pipeline) {
  std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>> out{{"unet", pipeline.unet},
                                                                              {"text_encoder", pipeline.text_encoder}};
  if (pipeline.is_xl()) out.emplace_back("text_encoder_2", pipeline.text_encoder_2);
  return out;
}

adapters::ModelLayout layout_of(const models::Pipeline& pipeline) {
  constexpr std::string_view kWeight = ".weight";
  adapters::ModelLayout layout{"model", "the model", {}};
  for (const auto& [component, module] : adaptable_components(pipeline)) {
    for (const auto& parameter : module->named_parameters()) {
      const std::string& name = parameter.key();
      const at::Tensor& weight = parameter.value();
      if (!name.ends_with(kWeight) || weight.dim() == 0) continue;
      const std::string path = adapters::checkpoint_path(component, name.substr(0, name.size() - kWeight.size()));
      layout.modules.push_back({component, path, weight.size(0), weight.numel() / weight.size(0), weight.dim() == 4 ? weight.size(2) : 0});
    }
  }
  return layout;
}

std::vector<AppliedAdapter> apply_adapters(const models::Pipeline& pipeline, std::span<const AdapterUse> uses,
                                           std::span<const BlockWeight> blocks) {
  const at::NoGradGuard no_grad;
  const adapters::ModelLayout layout = layout_of(pipeline);
  std::vector<AppliedAdapter> applied;
  std::set<std::string> used;
  for (const AdapterUse& use : uses) {
    adapters::ReadAdapter adapter = read_fitting(use, layout);
    const size_t modules = adapter.record.modules.size();
    AppliedAdapter one{use, std::string(adapter.dialect->name()), std::string(to_string(adapters::family_of(adapter.record))), 0,
                       adapter.record.notes};
    const std::string name = std::to_string(applied.size());
    for (const auto& [component, module] : adaptable_components(pipeline)) {
      one.modules += add_differences(*module, component, adapter.record, use.weight, blocks, used);
      const auto attached = adapters::attach_record(*module, adapter.record, component, name, use.weight);
      set_multipliers(attached, component, name, use.weight, blocks, used);
      one.modules += attached.size();
    }
    check(one.modules == modules, ErrorKind::shape, use.path.string(), "{} layers in the file, {} of them in the model", modules,
          one.modules);
    applied.push_back(std::move(one));
  }
  check_blocks(blocks, used);
  return applied;
}

int64_t merge_adapters(const models::Pipeline& pipeline, bool all) {
  const at::NoGradGuard no_grad;
  int64_t merged = 0;
  for (const auto& [component, module] : adaptable_components(pipeline)) {
    for (const auto& [name, host] : nn::hosts_of(*module)) {
      const auto& attached = host->adapters();
      const auto dense = [&, target = host](const auto& adapter) { return !adapter.second->low_rank(*target).has_value(); };
      if (attached.empty() || !(all || std::any_of(attached.begin(), attached.end(), dense))) continue;
      host->merge();
      ++merged;
    }
  }
  return merged;
}

}  // namespace lowrank::generate
