#include <array>

#include "lowrank/base/error.h"
#include "lowrank/models/family.h"

namespace lowrank::models {

#define LOWRANK_MODEL(name) const Family& name##_family();
#include "lowrank/models/models.def"
#undef LOWRANK_MODEL

std::span<const Family* const> families() {
  static const std::array table = {
#define LOWRANK_MODEL(name) &name##_family(),
#include "lowrank/models/models.def"
#undef LOWRANK_MODEL
  };
  return table;
}

namespace {

std::string replaced(std::string name, std::string_view from, std::string_view to) {
  if (const auto at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
  return name;
}

}  // namespace

std::string Family::name_here(std::string name) const {
  for (const auto& [file, here] : renamed) name = replaced(std::move(name), file, here);
  return name;
}

std::string Family::name_in_file(std::string name) const {
  for (const auto& [file, here] : renamed) name = replaced(std::move(name), here, file);
  return name;
}

const Family& family_of(const Json& config, const std::string& where) {
  check(config.is_object(), ErrorKind::file_format, where, "expected an object of model settings");
  const auto name = json_get<std::string>(config, "model_type", "", where);
  check(!name.empty(), ErrorKind::file_format, where, "expected 'model_type', got none");
  std::vector<std::string> names;
  for (const Family* family : families()) {
    if (family->model_type == name) return *family;
    names.emplace_back(family->model_type);
  }
  fail(ErrorKind::unsupported, where,
       fmt::format("expected model_type one of {}, got '{}'{}", fmt::join(names, ", "), name, did_you_mean(name, names)));
}

}  // namespace lowrank::models
