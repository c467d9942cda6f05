// Members of a struct to and from one JSON object through one list of names: `fields("seed", run.seed)` writes or reads.
// Reading is strict: every name must be there, and finish() refuses names that nobody asked for. NaN is null.
#pragma once

#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "lowrank/base/json.h"

namespace lowrank::study {

class FieldWriter {
 public:
  explicit FieldWriter(Json& json) : json_(json) {}
  template <class T>
  void operator()(const char* name, const T& value) {
    json_[name] = value;  // the library writes NaN as null
  }

 private:
  Json& json_;
};

class FieldReader {
 public:
  FieldReader(const Json& json, std::string_view where) : json_(json), where_(where) {
    check(json.is_object(), ErrorKind::file_format, where_, "expected an object, got {}", json.type_name());
  }

  template <class T>
  void operator()(const char* name, T& value) {
    names_.emplace_back(name);
    const auto found = json_.find(name);
    check(found != json_.end(), ErrorKind::file_format, where_, "expected key '{}', got none", name);
    try {
      if constexpr (std::is_same_v<T, double>) {
        value = found->is_null() ? std::nan("") : found->template get<double>();
      } else {
        value = found->template get<T>();
      }
    } catch (const nlohmann::json::exception&) {
      fail(ErrorKind::file_format, where_, fmt::format("key '{}' has an unexpected type: {}", name, found->type_name()));
    }
  }

  void finish() const {
    for (const auto& [name, _] : json_.items()) {
      check(std::find(names_.begin(), names_.end(), name) != names_.end(), ErrorKind::file_format, where_, "unknown key '{}'{}", name,
            did_you_mean(name, names_));
    }
  }

 private:
  const Json& json_;
  std::string where_;
  std::vector<std::string> names_;
};

}  // namespace lowrank::study
