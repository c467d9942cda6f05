#include <algorithm>

#include "lowrank/adapters/dialects/layout.h"
#include "lowrank/base/error.h"
#include "lowrank/io/names/ldm.h"

namespace lowrank::adapters {

std::string joined(std::string path) {
  std::replace(path.begin(), path.end(), '.', '_');
  return path;
}

std::map<std::string, std::string> original_unet_names(const ModelLayout& layout) {
  std::vector<std::string> paths;
  for (const auto& module : layout.modules) {
    if (module.component == "unet") paths.push_back(module.path);
  }
  const io::LdmUNet numbering = io::ldm_numbering(paths);
  std::map<std::string, std::string> names;
  for (const std::string& path : paths) {
    const std::string original = io::ldm_unet_name(path, numbering);
    names[path] = original.empty() ? path : original;
  }
  return names;
}

NameTable::NameTable(const std::vector<const ModelLayout*>& layouts) {
  constexpr std::string_view kText = "text_model.";
  for (const ModelLayout* layout : layouts) {
    const auto originals = original_unet_names(*layout);
    for (const auto& module : layout->modules) {
      add(module.component, module.path, module);
      if (module.component == "unet") add("unet", originals.at(module.path), module);
      if (module.path.starts_with(kText)) add(module.component, module.path.substr(kText.size()), module);
    }
  }
}

void NameTable::add(const std::string& component, const std::string& name, const KnownModule& module) {
  const auto [entry, fresh] = table_.try_emplace({component, joined(name)}, module);
  check(fresh || entry->second.path == module.path, ErrorKind::internal, "module names", "'{}' stands for both '{}' and '{}'", joined(name),
        entry->second.path, module.path);
}

const KnownModule* NameTable::find(const std::string& component, const std::string& joined) const {
  const auto found = table_.find({component, joined});
  return found == table_.end() ? nullptr : &found->second;
}

}  // namespace lowrank::adapters
