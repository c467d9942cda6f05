// Reads config.json and its kin strictly: what is not honoured is refused by name, what is not known is told.
#pragma once

#include <array>
#include <set>
#include <string>
#include <string_view>

#include "lowrank/base/error.h"
#include "lowrank/base/json.h"
#include "lowrank/models/activation.h"

namespace lowrank::models {

/// Every getter notes its key; finish() throws all problems together. Until then a bad value reads as its fallback
/// or 1.
class ConfigReader {
 public:
  ConfigReader(const Json& config, std::string where);

  /// What every model's config.json may hold: bookkeeping, and settings that nobody honours here.
  void model_keys();

  int64_t size(const char* key);                       // required, at least 1
  int64_t integer(const char* key, int64_t fallback);  // at least 0
  double number(const char* key, double fallback);
  bool flag(const char* key, bool fallback);
  std::array<double, 3> three_numbers(const char* key, const std::array<double, 3>& fallback);
  /// Height and width, each at least 1, from one number, [height, width] or {"height", "width"}; required.
  std::array<int64_t, 2> extent(const char* key);
  Activation activation(const char* key);  // required
  /// The key must be absent, null or equal to `honoured`.
  void only(const char* key, const Json& honoured);
  /// Keys that change nothing here: dropout rates of the frozen base, bookkeeping.
  void harmless(std::initializer_list<std::string_view> keys);

  /// Throws Error{file_format} for missing or mistyped keys, Error{unsupported} for values that are not honoured; names
  /// the keys that nobody knows in a warning.
  void finish();

 private:
  const Json* value(const char* key);  // null when absent or null

  const Json& config_;
  std::string where_;
  Problems wrong_, unsupported_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace lowrank::models
