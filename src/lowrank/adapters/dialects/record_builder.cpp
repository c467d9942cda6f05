#include "lowrank/adapters/dialects/record_builder.h"

#include <cmath>

#include "lowrank/tensor/dtype.h"

namespace lowrank::adapters {

void RecordBuilder::put(const std::string& component, const std::string& module, const std::string& name, const at::Tensor& value) {
  ModuleRecord& entry = modules_[{component, module}];
  entry.component = component;
  entry.module = module;
  if (!entry.tensors.emplace(name, value).second) problems_.add(fmt::format("'{}' has {} in two spellings", entry.name(), name));
}

double RecordBuilder::stored_alpha(ModuleRecord& module) {
  const auto found = module.tensors.find("alpha");
  if (found == module.tensors.end()) return 0;
  const at::Tensor value = found->second;
  module.tensors.erase(found);
  check(value.numel() == 1, ErrorKind::file_format, where_, "'{}' alpha: expected one number, got shape {}", module.name(),
        tensor::shape_text(value.sizes()));
  const double alpha = value.to(at::kDouble).item<double>();
  check(std::isfinite(alpha), ErrorKind::file_format, where_, "'{}' alpha: expected a finite number, got {}", module.name(), alpha);
  if (value.scalar_type() == at::kHalf || value.scalar_type() == at::kBFloat16) ++narrow_alphas_[c10::toString(value.scalar_type())];
  return alpha;
}

AdapterRecord RecordBuilder::finish(io::Metadata metadata, const Numbers& numbers) {
  for (auto& [key, module] : modules_) {
    try {
      const double alpha = stored_alpha(module);
      classify(module, where_);
      numbers(module, alpha);
      record_.modules.push_back(std::move(module));
    } catch (const Error& error) {
      problems_.add(error.problem());
    }
  }
  problems_.raise_if_any();
  for (const auto& [dtype, count] : narrow_alphas_)
    note(fmt::format("alpha is stored as {} in {} modules: it may have been rounded; taken as it stands", dtype, count));
  record_.metadata = std::move(metadata);
  sort_modules(record_);
  return std::move(record_);
}

void set_numbers(ModuleRecord& module, double stored_alpha, int& missing) {
  const bool none = module.update == Update::full || module.rank == 0;
  module.rule = none ? ScaleRule::one : ScaleRule::alpha_over_rank;
  module.alpha = stored_alpha != 0 ? stored_alpha : none ? 1 : static_cast<double>(module.rank);
  if (stored_alpha == 0 && !none) ++missing;
}

}  // namespace lowrank::adapters
