#include "lowrank/text/unicode.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utf8proc.h>

#include "lowrank/text/unicode_tables.h"

namespace lowrank::text {

namespace {

template <class Entry>
const Entry* find_range(std::span<const Entry> table, char32_t c) {
  const auto after = std::upper_bound(table.begin(), table.end(), c, [](char32_t x, const Entry& e) { return x < e.first; });
  return after == table.begin() || c > std::prev(after)->last ? nullptr : &*std::prev(after);
}

// Code points that decompose since a Unicode version later than the reference's normaliser knows (up to Unicode 17).
constexpr std::array kNewDecompositions = {
    Range{0x32FF, 0x32FF},   Range{0xA7F1, 0xA7F4},   Range{0xAB69, 0xAB69},   Range{0x105C9, 0x105C9}, Range{0x105E4, 0x105E4},
    Range{0x10781, 0x107BA}, Range{0x11383, 0x11391}, Range{0x113C5, 0x113C8}, Range{0x11938, 0x11938}, Range{0x16121, 0x16128},
    Range{0x16D68, 0x16D6A}, Range{0x1CCD6, 0x1CCF9}, Range{0x1E030, 0x1E06D}, Range{0x1F16C, 0x1F16C}, Range{0x1FBF0, 0x1FBF9}};

// Upper-case letters later than Unicode 15, with the distance to their lower-case twins.
struct CaseShift {
  char32_t first, last;
  int32_t shift;
};
constexpr std::array kNewCases = {CaseShift{0x1C89, 0x1C89, 1},      CaseShift{0xA7CB, 0xA7CB, 0x264 - 0xA7CB},
                                  CaseShift{0xA7CC, 0xA7CC, 1},      CaseShift{0xA7CE, 0xA7CE, 1},
                                  CaseShift{0xA7D2, 0xA7D2, 1},      CaseShift{0xA7D4, 0xA7D4, 1},
                                  CaseShift{0xA7DA, 0xA7DA, 1},      CaseShift{0xA7DC, 0xA7DC, 0x19B - 0xA7DC},
                                  CaseShift{0x10D50, 0x10D65, 0x20}, CaseShift{0x16EA0, 0x16EB8, 0x1B}};

}  // namespace

bool is_whitespace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool is_bert_control(char32_t c) { return (c < ' ' || c > '~') && find_range(kBertControlTable, c); }

bool is_bert_chinese(char32_t c) {
  return c >= 0x3400 && ((c >= 0x4E00 && c <= 0x9FFF) || c <= 0x4DBF || (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
                         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
                         (c >= 0x2F800 && c <= 0x2FA1F));
}

bool is_nonspacing_mark(char32_t c) { return c >= 0x300 && find_range(kNonspacingMarkTable, c); }
bool is_combining_mark(char32_t c) { return c >= 0x300 && find_range(kCombiningMarkTable, c); }

bool is_punctuation(char32_t c) {
  if (c < 0x80) return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
  return find_range(kPunctuationTable, c);
}

bool is_numeric(char32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : find_range(kNumericTable, c) != nullptr; }
bool is_word(char32_t c) { return find_range(kWordTable, c); }

size_t to_lower(char32_t c, char32_t out[2]) {
  out[0] = c;
  if (c < 0x80) {
    if (c >= 'A' && c <= 'Z') out[0] = c + 32;
    return 1;
  }
  if (c == 0x130) {  // the one unconditional mapping to two code points
    out[0] = 'i', out[1] = 0x307;
    return 2;
  }
  if (const auto* change = find_range(std::span<const CaseShift>(kNewCases), c)) {
    out[0] = static_cast<char32_t>(static_cast<int32_t>(c) + change->shift);
  } else {
    out[0] = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  }
  return 1;
}

size_t decompose(char32_t c, bool compatibility, char32_t out[kMaxDecomposition]) {
  out[0] = c;
  if (c < 0xA0 || find_range(std::span<const Range>(kNewDecompositions), c)) return 1;
  std::array<utf8proc_int32_t, kMaxDecomposition> parts{};
  int boundary = 0;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0));
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(), parts.size(), options, &boundary);
  if (count <= 0 || count > static_cast<long>(parts.size())) return 1;
  std::transform(parts.begin(), parts.begin() + count, out, [](utf8proc_int32_t part) { return static_cast<char32_t>(part); });
  return static_cast<size_t>(count);
}

uint8_t combining_class(char32_t c) {
  if (c < 0x300) return 0;
  const auto found = static_cast<uint8_t>(utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class);
  return found > 1 && !find_range(kReorderedTable, c) ? 0 : found;
}

char32_t compose(char32_t first, char32_t second) {
  if (second < 0x300 || first < ' ') return 0;
  std::array pair = {static_cast<utf8proc_int32_t>(first), static_cast<utf8proc_int32_t>(second)};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  if (utf8proc_normalize_utf32(pair.data(), 2, options) != 1) return 0;
  const auto composed = static_cast<char32_t>(pair[0]);
  return find_range(std::span<const Range>(kNewDecompositions), composed) ? 0 : composed;
}

char32_t regex_stand_in(char32_t c) {
  const auto* found = find_range(kRegexStandInTable, c);
  return found ? found->replacement : c;
}

}  // namespace lowrank::text
