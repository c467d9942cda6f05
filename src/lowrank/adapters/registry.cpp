#include <array>

#include "lowrank/adapters/method.h"
#include "lowrank/base/error.h"

namespace lowrank::adapters {

#define LOWRANK_ADAPTER(name) const Method& name##_method();
#include "lowrank/adapters/adapters.def"
#undef LOWRANK_ADAPTER

std::span<const Method* const> methods() {
  static const std::array table = {
#define LOWRANK_ADAPTER(name) &name##_method(),
#include "lowrank/adapters/adapters.def"
#undef LOWRANK_ADAPTER
  };
  return table;
}

const Method& method_named(std::string_view name) {
  std::vector<std::string> names;
  for (const Method* method : methods()) {
    if (method->name() == name) return *method;
    names.emplace_back(method->name());
  }
  fail(ErrorKind::invalid_argument, "method",
       fmt::format("expected one of {}, got '{}'{}", fmt::join(names, ", "), name, did_you_mean(name, names)));
}

}  // namespace lowrank::adapters
