#include <algorithm>

#include "lowrank/text/regex.h"

namespace lowrank::text {

namespace {

// Oniguruma's \w (letters, marks, Nd, Nl, Pc, other alphabetic symbols, and the fractions and exponents of Latin-1),
// where PCRE2's is letters, numbers and '_'. Written for use inside a class.
constexpr std::string_view kWord = R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169})"
                                   R"(\x{1F170}-\x{1F189}\xB2\xB3\xB9\xBC-\xBE)";
constexpr std::string_view kHex = "0-9a-fA-F";

// Walks the expression once, copying it piece by piece. `atom_` is where the last atom begins in the output: what a
// following "{n,m}+" repeats (in Oniguruma an interval with '+' is repeated, in PCRE2 it is possessive).
class Translator {
 public:
  Translator(std::string_view in, const Component& component) : in_(in), component_(component) {}

  std::string run() {
    while (at_ < in_.size()) element();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const { component_.unsupported(fmt::format("{} in the expression '{}'", what, in_)); }
  bool starts(std::string_view prefix) const { return in_.substr(at_).starts_with(prefix); }
  void copy(size_t bytes) {
    out_ += in_.substr(at_, bytes);
    at_ += bytes;
  }

  void element() {
    const char c = in_[at_];
    if (c == '(') return open_group();
    if (c == '{' && interval() > 0) return repeat();
    if (c == ')') {
      if (groups_.empty()) refuse("an unmatched ')'");
      atom_ = groups_.back();
      groups_.pop_back();
      return copy(1);
    }
    if (c == '*' || c == '+' || c == '?' || c == '|') return copy(1);
    atom_ = out_.size();
    if (c == '[') return character_class();
    if (c == '\\') return escape(false);
    copy(1);
    while (at_ < in_.size() && (static_cast<uint8_t>(in_[at_]) & 0xC0) == 0x80) copy(1);
  }

  void open_group() {
    groups_.push_back(out_.size());
    if (!starts("(?")) return copy(1);
    for (const std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?i)", "(?-i:", "(?-i)"}) {
      if (!starts(known)) continue;
      if (known.back() == ')') groups_.pop_back();
      return copy(known.size());
    }
    refuse(fmt::format("the group '{}'", in_.substr(at_, 4)));
  }

  // Bytes of "{n}", "{n,}", "{,m}" or "{n,m}" at the cursor; 0 when the brace is literal.
  size_t interval() const {
    const size_t end = in_.find('}', at_);
    if (end == std::string_view::npos || end == at_ + 1) return 0;
    const std::string_view inner = in_.substr(at_ + 1, end - at_ - 1);
    const bool counts = inner != "," && std::all_of(inner.begin(), inner.end(), [](char c) { return c == ',' || (c >= '0' && c <= '9'); });
    return counts ? end + 1 - at_ : 0;
  }

  void repeat() {
    if (in_[at_ + 1] == ',') {
      out_ += "{0";
      ++at_;
      copy(in_.find('}', at_) + 1 - at_);
    } else {
      copy(interval());
    }
    if (starts("+")) {
      out_.insert(atom_, "(?:");
      out_ += ')';
    }
  }

  void escape(bool in_class) {
    if (at_ + 1 >= in_.size()) refuse("a backslash at the end");
    const char c = in_[at_ + 1];
    const auto put = [&](std::string_view inner, bool negated) {
      if (in_class && negated) refuse(fmt::format("\\{} in a class", c));
      out_ += in_class ? std::string(inner) : fmt::format("[{}{}]", negated ? "^" : "", inner);
      at_ += 2;
    };
    if (c == 'w' || c == 'W') return put(kWord, c == 'W');
    if (c == 'h' || c == 'H') return put(kHex, c == 'H');
    if (c == 'u') return code_point();
    if (c == 'p' || c == 'P') return copy_through('}', "a property without braces");
    if (c == 'x' && starts("\\x{")) return copy_through('}', "an open \\x{");
    if (std::string_view("RXKGkgNOybBQEcCM").find(c) != std::string_view::npos || (c >= '0' && c <= '9')) {
      refuse(fmt::format("\\{}", c));
    }
    copy(1 + utf8_length(c));
  }

  void copy_through(char last, std::string_view problem) {
    const size_t end = in_.find(last, at_);
    if (in_[at_ + 2] != '{' || end == std::string_view::npos) refuse(problem);
    copy(end + 1 - at_);
  }

  // \uHHHH
  void code_point() {
    const std::string_view digits = in_.substr(at_ + 2, 4);
    if (digits.size() != 4) refuse("\\u without four digits");
    out_ += fmt::format("\\x{{{}}}", digits);
    at_ += 6;
  }

  void character_class() {
    copy(starts("[^") ? 2 : 1);
    if (starts("]")) refuse("a class that begins with ']'");
    while (at_ < in_.size() && in_[at_] != ']') {
      if (starts("&&")) refuse("class intersection '&&'");
      if (in_[at_] == '[') refuse("'[' in a class");
      if (in_[at_] == '\\') {
        escape(true);
      } else {
        copy(utf8_length(in_[at_]));
      }
    }
    if (at_ == in_.size()) refuse("an open class");
    copy(1);
  }

  std::string_view in_;
  const Component& component_;
  std::string out_;
  size_t at_ = 0, atom_ = 0;
  std::vector<size_t> groups_;
};

}  // namespace

std::string translate_regex(std::string_view pattern, const Component& component) {
  if (!is_utf8(pattern)) component.unsupported("an expression that is not UTF-8");
  return Translator(pattern, component).run();
}

}  // namespace lowrank::text
