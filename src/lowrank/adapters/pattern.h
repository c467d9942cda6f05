// Matching of dotted module names: regular expressions (PCRE2) and globs. Expressions come from files and users, so
// matching stops at a fixed number of steps: a pattern such as "(a+)+b" is an error, not a hang.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace lowrank::adapters {

class NamePattern {
 public:
  /// Throws Error{invalid_argument} naming `where` and the place in the expression that does not compile.
  NamePattern(std::string expression, std::string_view where);

  /// True when the whole name matches. Throws Error{invalid_argument} when that takes too many steps.
  bool matches(std::string_view name) const;

 private:
  std::string expression_, where_;
  std::shared_ptr<void> code_;  // pcre2_code
};

/// PEFT's rule for the keys of rank_pattern and alpha_pattern: (.*\.)?(key) over the whole name.
NamePattern suffix_pattern(const std::string& key, std::string_view where);

/// Whole-text match; '*' is any run of characters, dots included, '?' any one character.
bool matches_glob(std::string_view glob, std::string_view text);

/// True when the expression means the same in Python's `re` (no \p, \K, (*VERB), recursion, [[:class:]], (?<name>).
bool is_portable_regex(std::string_view expression);

}  // namespace lowrank::adapters
