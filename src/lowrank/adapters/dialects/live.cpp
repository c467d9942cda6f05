#include "lowrank/adapters/dialects/live.h"

#include "lowrank/adapters/dialects/layout.h"
#include "lowrank/adapters/dialects/peft_numbers.h"
#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

// The model's own path, with or without CLIP's "text_model.".
using HostsByPath = std::map<std::string, std::pair<std::string, nn::Host*>>;

HostsByPath hosts_by_path(torch::nn::Module& model, const std::string& component) {
  HostsByPath hosts;
  for (const auto& [name, host] : nn::hosts_of(model)) hosts[checkpoint_path(component, name)] = {name, host};
  return hosts;
}

std::string misfit(const ModuleRecord& module, const HostsByPath& hosts) {
  const auto found = hosts.find(module.module);
  if (found == hosts.end()) return fmt::format("{}: the model has no such layer", module.name());
  if (module.has("diff_b"))
    return fmt::format("{}: a difference of its bias, which sampling and merging add to the model itself", module.name());
  const nn::HostShape shape = found->second.second->shape();
  const auto [out, columns] = matrix_shape(module);
  if (shape.out == out && shape.in == columns) return "";
  return fmt::format("{}: {} x {} in the file, {} x {} in the model", module.name(), out, columns, shape.out, shape.in);
}

// A matrix factor in the shape that files have for this layer.
at::Tensor as_stored(const std::string& name, const at::Tensor& value, const at::Tensor& weight) {
  const at::Tensor t = value.detach().cpu();
  if (name == "lora_magnitude_vector") return t.reshape(weight.dim() == 4 ? at::IntArrayRef{-1, 1, 1, 1} : at::IntArrayRef{-1, 1});
  if (weight.dim() != 4 || t.dim() == 4) return t;
  if (name == "lora_A") return t.reshape({t.size(0), -1, weight.size(2), weight.size(3)});
  if (name == "lora_B") return t.reshape({t.size(0), -1, 1, 1});
  if (name == "lokr_w2") return t.reshape({t.size(0), -1, weight.size(2), weight.size(3)});
  return t;
}

}  // namespace

at::Tensor RecordAdapter::apply_to_weight(const at::Tensor& w) const {
  const auto wide = w.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor base = w.detach().cpu().to(at::kDouble), result = adapted(record_, base);
  const double k = multiplier();
  return (k == 1.0 ? result : base + k * (result - base)).to(w.device(), wide);
}

std::optional<nn::LowRankForm> RecordAdapter::low_rank(const nn::Host& host) const {
  if (record_.update != Update::lora || record_.has("lora_mid") || record_.axis != MagnitudeAxis::none) return std::nullopt;
  const at::Tensor& w = host.weight();
  const auto on_host = [&](const char* name) { return record_.tensors.at(name).flatten(1).to(w.device(), w.scalar_type()); };
  return nn::LowRankForm{.A = on_host("lora_A"), .B = on_host("lora_B"), .scale = multiplier() * record_.scale(), .gain = {}, .mix = {}};
}

std::vector<std::pair<std::string, nn::Host*>> attach_record(torch::nn::Module& model, const AdapterRecord& record,
                                                             const std::string& component, const std::string& name, double multiplier) {
  const HostsByPath hosts = hosts_by_path(model, component);
  Problems problems(ErrorKind::shape, name);
  for (const auto& module : record.modules) {
    if (module.component != component) continue;
    if (auto problem = misfit(module, hosts); !problem.empty()) problems.add(std::move(problem));
  }
  const ModelLayout* made_for = guess_layout(record);
  problems.raise_if_any(made_for == nullptr ? "the adapter was made for another model, or for other layers of it"
                                            : fmt::format("the adapter fits {}", made_for->title));
  std::vector<std::pair<std::string, nn::Host*>> attached;
  try {
    for (const auto& module : record.modules) {
      if (module.component != component) continue;
      const auto& entry = hosts.at(module.module);
      auto adapter = std::make_shared<RecordAdapter>(module);
      adapter->set_multiplier(multiplier);
      entry.second->attach(name, std::move(adapter));
      attached.push_back(entry);
    }
  } catch (...) {
    for (const auto& [path, host] : attached) host->detach(name);
    throw;
  }
  return attached;
}

std::vector<ModuleRecord> records_of(const AdapterSet& set, const std::string& component) {
  std::vector<ModuleRecord> records;
  for (const auto& [module, host, adapter, options] : set.modules) {
    ModuleRecord record{component, checkpoint_path(component, module), {}};
    for (const auto& entry : adapter->named_parameters())
      record.tensors[entry.key()] = as_stored(entry.key(), entry.value(), host->weight());
    classify(record, module);
    if (record.rank == 0) record.rank = 1;  // LoKr of two whole factors: the scale alone counts
    record.alpha = set.config.method->effective_scale(options, host->shape()) * static_cast<double>(record.rank);
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace lowrank::adapters
