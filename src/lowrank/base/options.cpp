#include "lowrank/base/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "lowrank/base/error.h"

namespace lowrank {

namespace {

std::string canonical(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

Json number_from(std::string_view text) {
  int64_t whole = 0;
  const char* end = text.data() + text.size();
  if (auto [stop, code] = std::from_chars(text.data(), end, whole); code == std::errc() && stop == end) return whole;
  double real = 0;
  if (auto [stop, code] = std::from_chars(text.data(), end, real); code == std::errc() && stop == end) return real;
  return std::string(text);
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = text.find(separator);
    if (end != 0) parts.emplace_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return parts;
}

std::string expectation(const Json& sample) {
  if (sample.is_boolean()) return "true or false";
  if (sample.is_number_integer()) return "a whole number";
  if (sample.is_number()) return "a number";
  if (sample.is_array()) return "a list";
  return "text";
}

bool same_type(const Json& sample, const Json& value) {
  if (sample.is_boolean()) return value.is_boolean();
  if (sample.is_number_integer()) {
    return value.is_number_integer() ||
           (value.is_number_float() && value.get<double>() == static_cast<double>(static_cast<int64_t>(value.get<double>())));
  }
  if (sample.is_number()) return value.is_number();
  if (sample.is_array()) return value.is_array();
  if (sample.is_string()) return value.is_string();
  return true;
}

}  // namespace

Option& Option::range(double low, double high) {
  low_ = low;
  high_ = high;
  return *this;
}

Option& Option::choices(std::vector<std::string> values) {
  choices_ = std::move(values);
  return *this;
}

std::string Option::limits() const {
  if (!choices_.empty()) return fmt::format("one of {}", fmt::join(choices_, ", "));
  const bool has_low = std::isfinite(low_), has_high = std::isfinite(high_);
  if (has_low && has_high) return fmt::format("{} to {}", low_, high_);
  if (has_low) return fmt::format("at least {}", low_);
  if (has_high) return fmt::format("at most {}", high_);
  return {};
}

void Option::verify(const Json& value, std::string_view origin) const {
  check(same_type(default_, value), ErrorKind::invalid_argument, origin, "option '{}': expected {}, got {}", name_, expectation(default_),
        value.dump());
  const auto verify_one = [&](const Json& item) {
    if (item.is_number()) {
      const double number = item.get<double>();
      check(number >= low_ && number <= high_, ErrorKind::invalid_argument, origin, "option '{}': expected {}, got {}", name_, limits(),
            item.dump());
    }
    if (item.is_string() && !choices_.empty()) {
      const auto text = item.get<std::string>();
      check(std::find(choices_.begin(), choices_.end(), text) != choices_.end(), ErrorKind::invalid_argument, origin,
            "option '{}': expected {}, got '{}'{}", name_, limits(), text, did_you_mean(text, choices_));
    }
  };
  if (value.is_array()) {
    for (const auto& item : value) verify_one(item);
  } else {
    verify_one(value);
  }
}

void Option::set(const Json& value, std::string_view origin) {
  Json converted = value;
  // A whole number written as 3.0 or 1e3 is still a whole number.
  if (default_.is_number_integer() && value.is_number_float() && same_type(default_, value))
    converted = static_cast<int64_t>(value.get<double>());
  if (is_list_ && value.is_string()) return set_text(value.get<std::string>(), origin);
  verify(converted, origin);
  try {
    assign_(converted);
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::invalid_argument, origin, fmt::format("option '{}': expected {}, got {}", name_, expectation(default_), value.dump()));
  }
  origin_ = origin;
}

void Option::set_text(std::string_view text, std::string_view origin) {
  if (is_flag_) {
    const bool yes = text == "true" || text == "yes" || text == "on" || text == "1" || text.empty();
    const bool no = text == "false" || text == "no" || text == "off" || text == "0";
    check(yes || no, ErrorKind::invalid_argument, origin, "option '{}': expected true or false, got '{}'", name_, text);
    return set(Json(yes), origin);
  }
  if (is_list_) {
    Json list = Json::array();
    for (const auto& part : split(text, separator_)) list.push_back(holds_numbers_ ? number_from(part) : Json(part));
    return set(list, origin);
  }
  set(default_.is_number() ? number_from(text) : Json(std::string(text)), origin);
}

Option* OptionTable::find(std::string_view name) {
  const std::string wanted = canonical(name);
  for (auto& option : options_) {
    if (option.name() == wanted) return &option;
  }
  return nullptr;
}

Option& OptionTable::at(std::string_view name, std::string_view where) {
  if (Option* option = find(name)) return *option;
  std::vector<std::string> names;
  for (const auto& option : options_) names.push_back(option.name());
  fail(ErrorKind::invalid_argument, where, fmt::format("unknown option '{}'{}", name, did_you_mean(canonical(name), names)),
       "--help lists every option");
}

void OptionTable::apply(const Json& object, std::string_view origin) {
  check(object.is_object(), ErrorKind::invalid_argument, origin, "expected a table of options, got {}", object.type_name());
  Problems problems(ErrorKind::invalid_argument, std::string(origin));
  for (const auto& [key, value] : object.items()) {
    try {
      at(key, origin).set(value, origin);
    } catch (const Error& error) {
      problems.add(error.problem());
    }
  }
  problems.raise_if_any("--help lists every option");
}

Json OptionTable::resolved() const {
  std::vector<const Option*> sorted;
  for (const auto& option : options_) sorted.push_back(&option);
  std::sort(sorted.begin(), sorted.end(), [](const Option* a, const Option* b) { return a->name() < b->name(); });
  Json values = Json::object();
  for (const Option* option : sorted) values[option->name()] = option->value();
  return values;
}

Option& OptionTable::insert(Option option) {
  check(find(option.name()) == nullptr, ErrorKind::internal, "options", "option '{}' is declared twice", option.name());
  options_.push_back(std::move(option));
  return options_.back();
}

}  // namespace lowrank
