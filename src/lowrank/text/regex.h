// Patterns of Split, Replace and ByteLevel: literal text, or a regular expression in the reference's dialect
// (Oniguruma).
//
// Expressions are translated to PCRE2 and matched with its just-in-time compiler. Where the two know different Unicode
// versions, the code point is replaced for matching by one of the class that the reference sees (unicode.h,
// regex_stand_in). What has no faithful translation is refused: POSIX brackets, class intersection, \X, \R, \W in a
// class, absent and inline s/m options.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/text/component.h"
#include "lowrank/text/pre_tokenized.h"

namespace lowrank::text {

/// Oniguruma syntax to PCRE2's. Throws Error{unsupported} through `component` for what has no translation.
std::string translate_regex(std::string_view pattern, const Component& component);

class Pattern {
 public:
  /// {"String": "…"} or {"Regex": "…"}.
  explicit Pattern(const Component& component);
  /// An expression in PCRE2's own syntax.
  explicit Pattern(const char* expression);

  /// All stretches of `text`, matching and not; they cover it in order.
  void find(std::string_view text, std::vector<Match>& matches) const;
  bool matches_empty() const { return code_ && next("", 0).first == 0; }

 private:
  void compile(const std::string& expression, const std::function<void(const std::string&)>& refuse);
  /// First match at or after `at`, as begin and end; begin == npos when there is none.
  std::pair<size_t, size_t> next(std::string_view text, size_t at) const;

  std::string literal_;         // matched as text unless code_
  std::shared_ptr<void> code_;  // pcre2_code
};

}  // namespace lowrank::text
