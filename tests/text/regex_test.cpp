#include "lowrank/text/regex.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace lowrank::text {
namespace {

std::string translate(const std::string& pattern) {
  const Json value = {{"Regex", pattern}};
  return translate_regex(pattern, Component(value, "test", "pattern"));
}

std::vector<std::string> pieces(const std::string& pattern, std::string_view text) {
  const Json value = {{"Regex", pattern}};
  std::vector<Match> matches;
  Pattern(Component(value, "test", "pattern")).find(text, matches);
  std::vector<std::string> out;
  for (const auto& [begin, end, _] : matches) out.emplace_back(text.substr(begin, end - begin));
  return out;
}

TEST(TranslateRegex, HexDigits_AreSpeltOut) { EXPECT_EQ(translate(R"(\h+[\hg])"), "[0-9a-fA-F]+[0-9a-fA-Fg]"); }

TEST(Pattern, Words_AreTheReferences) {
  EXPECT_EQ(pieces(R"(\w+)", "a_1\u0301\u3007\u24B6\u00B2\u203F"), std::vector<std::string>{"a_1\u0301\u3007\u24B6\u00B2\u203F"});
  EXPECT_EQ(pieces(R"([\w]+)", "a\u2160\u2080b"), (std::vector<std::string>{"a\u2160", "\u2080", "b"}));  // a subscript is no word
}

TEST(TranslateRegex, PlusBehindAnInterval_Repeats) {
  EXPECT_EQ(translate(R"((?:ab){1,3}+|\p{N}{2}+)"), R"((?:(?:ab){1,3})+|(?:\p{N}{2})+)");
  EXPECT_EQ(translate(R"(\p{L}++a{,2})"), R"(\p{L}++a{0,2})");
}

TEST(TranslateRegex, WhatDiffers_IsRefused) {
  EXPECT_LOWRANK_ERROR(translate("[a-z&&[^b]]"), ErrorKind::unsupported, "class intersection");
  EXPECT_LOWRANK_ERROR(translate("[[:alpha:]]"), ErrorKind::unsupported, "'[' in a class");
  EXPECT_LOWRANK_ERROR(translate("(?m:.)"), ErrorKind::unsupported, "the group '(?m:'");
  EXPECT_LOWRANK_ERROR(translate("(?<name>a)"), ErrorKind::unsupported, "the group '(?<n'");
  EXPECT_LOWRANK_ERROR(translate(R"(\X)"), ErrorKind::unsupported, R"(\X)");
  EXPECT_LOWRANK_ERROR(translate("[a"), ErrorKind::unsupported, "an open class");
  EXPECT_LOWRANK_ERROR(pieces("(a", "a"), ErrorKind::unsupported, "does not compile");
}

TEST(Pattern, NewerLettersAndNumbers_AreTheReferences) {
  EXPECT_EQ(pieces(R"(\p{L}+)", "a\U0001E4D0b"), std::vector<std::string>{"a\U0001E4D0b"});  // assigned in Unicode 15
  EXPECT_EQ(pieces(R"(\s)", "a\u180Eb"), std::vector<std::string>{"a\u180Eb"});              // no white space there, but in PCRE2
}

TEST(Pattern, EmptyMatch_CutsOnce) { EXPECT_EQ(pieces("(?=b)", "abab"), (std::vector<std::string>{"a", "", "ba", "", "b"})); }

}  // namespace
}  // namespace lowrank::text
