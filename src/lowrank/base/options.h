// Options, declared once: name, target, help, range. From the one declaration come the config file's keys, the flags,
// the help text, the documentation, the resolved record beside every output, and the unknown-key error.
//
//   struct Schedule { double warmup_fraction = 0.05; };
//   void declare(OptionTable& table, Schedule& schedule) {
//     table.add("warmup-fraction", schedule.warmup_fraction, "share of steps with rising rate").range(0, 1);
//   }
//
// Precedence is the caller's order of application: built-in < preset < file < command line.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/base/json.h"

namespace lowrank {

/// One declared option. Names are kebab-case; files may also spell them with underscores.
class Option {
 public:
  Option& range(double low, double high);            // inclusive, numbers only
  Option& choices(std::vector<std::string> values);  // text only
  Option& group(std::string title) { return group_ = std::move(title), *this; }
  /// A list of sentences, which may hold commas: text is split at line ends instead.
  Option& lines() { return separator_ = '\n', *this; }

  const std::string& name() const { return name_; }
  const std::string& help() const { return help_; }
  const std::string& group() const { return group_; }
  bool is_flag() const { return is_flag_; }  // a bool: may be given without a value
  bool is_list() const { return is_list_; }
  char separator() const { return separator_; }  // of a list's items in text
  const Json& default_value() const { return default_; }
  std::string limits() const;                            // "0 to 1", "one of a, b", or ""
  const std::string& origin() const { return origin_; }  // "built-in", or who set it last

  Json value() const { return get_(); }
  /// Throws Error{invalid_argument} naming option, origin, what was expected and what came.
  void set(const Json& value, std::string_view origin);
  /// From the command line: numbers and booleans are read from their text, lists split at the separator.
  void set_text(std::string_view text, std::string_view origin);

 private:
  friend class OptionTable;
  void verify(const Json& value, std::string_view origin) const;

  std::string name_, help_, group_, origin_ = "built-in";
  Json default_;
  bool is_flag_ = false, is_list_ = false, holds_numbers_ = false;
  char separator_ = ',';
  double low_ = -std::numeric_limits<double>::infinity(), high_ = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices_;
  std::function<Json()> get_;
  std::function<void(const Json&)> assign_;  // throws nlohmann::json::exception on a wrong type
};

/// Options bound to members of caller-owned structs (which must outlive the table).
class OptionTable {
 public:
  template <class T>
  Option& add(std::string name, T& target, std::string help);

  const std::vector<Option>& options() const { return options_; }
  Option* find(std::string_view name);                        // '-' and '_' are the same; nullptr when unknown
  Option& at(std::string_view name, std::string_view where);  // throws with near misses when unknown

  /// Sets every key of `object`; nested objects are not allowed. All problems are reported in one Error{invalid_argument}.
  void apply(const Json& object, std::string_view origin);
  /// The resolved values, sorted by name: what is written beside every output and hashed.
  Json resolved() const;

 private:
  Option& insert(Option option);
  std::vector<Option> options_;
};

template <class T>
Option& OptionTable::add(std::string name, T& target, std::string help) {
  Option option;
  option.name_ = std::move(name);
  option.help_ = std::move(help);
  option.is_flag_ = std::is_same_v<T, bool>;
  option.default_ = Json(target);
  option.is_list_ = option.default_.is_array();
  option.holds_numbers_ = std::is_same_v<T, std::vector<double>> || std::is_same_v<T, std::vector<int64_t>>;
  option.get_ = [&target] { return Json(target); };
  option.assign_ = [&target](const Json& value) { target = value.get<T>(); };
  return insert(std::move(option));
}

/// The resolved values of options with a declare() of their own beside them.
template <class Options>
Json resolved(Options options) {
  OptionTable table;
  declare(table, options);
  return table.resolved();
}

}  // namespace lowrank
