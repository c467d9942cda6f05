// Reads the config.json of a diffusers component strictly: a key that is not honoured must be absent or hold diffusers' default,
// and one that nobody knows is refused, since it may change what the model computes.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/base/error.h"
#include "lowrank/base/json.h"

namespace lowrank::models {

/// Every getter notes its key; finish() throws all problems together. Until then a bad value reads as its fallback.
class ComponentConfig {
 public:
  /// Error{unsupported} from finish() when "_class_name" is another class.
  ComponentConfig(const Json& config, std::string where, std::string_view class_name);

  int64_t size(const char* key, int64_t fallback);  // at least 1
  int64_t integer(const char* key, int64_t fallback);
  double number(const char* key, double fallback);
  bool flag(const char* key, bool fallback);  // null is false
  std::vector<std::string> words(const char* key, std::vector<std::string> fallback);
  /// A list of `count` integers of at least 1, or one integer for all.
  std::vector<int64_t> sizes(const char* key, size_t count, const std::vector<int64_t>& fallback);
  /// Each key must be absent or hold this value, diffusers' default; null stands for false.
  void only(const Json& defaults);
  /// Keys that change nothing here.
  void harmless(std::initializer_list<std::string_view> keys);
  void unsupported(std::string problem) { unsupported_.add(std::move(problem)); }

  /// Throws Error{file_format} for mistyped keys, Error{unsupported} for values and keys that are not honoured.
  void finish();

 private:
  const Json* find(const char* key);  // null when absent
  void wrong(const char* key, std::string_view expected, const Json& got);

  const Json& config_;
  Problems wrong_, unsupported_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace lowrank::models
