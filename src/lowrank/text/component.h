// One component of tokenizer.json (an object with "type") and its place in the file, for reading and for errors.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/base/error.h"
#include "lowrank/base/json.h"

namespace lowrank::text {

class Component {
 public:
  /// `where` is the file, `path` the place in it ("normalizer.normalizers[1]"). `value` must outlive the component.
  Component(const Json& value, std::string where, std::string path);

  const Json& value() const { return *value_; }
  const std::string& path() const { return path_; }
  bool has(const char* key) const { return value_->contains(key) && !(*value_)[key].is_null(); }
  std::string type() const { return get<std::string>("type"); }

  /// The member, which must be there and of type T.
  template <class T>
  T get(const char* key) const {
    if (!has(key)) broken("has no '{}'", key);
    return convert<T>((*value_)[key], key);
  }
  template <class T>
  T get(const char* key, T fallback) const {
    return has(key) ? convert<T>((*value_)[key], key) : fallback;
  }
  Component child(const char* key) const;
  std::vector<Component> children(const char* key) const;

  /// Error{unsupported} naming the first member that is none of `keys` or "type".
  void allow(std::initializer_list<std::string_view> keys) const;
  /// Error{unsupported}: this component, of kind `what`, is not built; `known` are those that are.
  [[noreturn]] void unknown_type(std::string_view what, std::string_view known) const;
  [[noreturn]] void unsupported(std::string_view problem) const;
  template <class... Args>
  [[noreturn]] void broken(fmt::format_string<Args...> problem, Args&&... args) const {
    fail(ErrorKind::file_format, where_, fmt::format("{} ", path_) + fmt::format(problem, std::forward<Args>(args)...));
  }

 private:
  template <class T>
  T convert(const Json& member, const char* key) const {
    try {
      return member.get<T>();
    } catch (const nlohmann::json::exception&) {
      broken("has a '{}' of an unexpected type: {}", key, member.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80));
    }
  }

  const Json* value_;
  std::string where_, path_;
};

}  // namespace lowrank::text
