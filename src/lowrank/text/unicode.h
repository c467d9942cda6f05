// Character classes and mappings, as the reference tokenizers 0.23 has them.
//
// The reference mixes tables of several Unicode versions (its BERT rules know Unicode 8, its normalisation forms
// Unicode 9, its words and numbers Unicode 16). The classes here are therefore full range tables read from the
// reference itself by tools/golden/unicode_tables.py, not those of the Unicode library at hand; decompositions and
// simple case mappings, which never change once assigned, come from utf8proc with the differences listed in
// unicode.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace lowrank::text {

struct Range {
  char32_t first, last;
};

/// Rust's char::is_whitespace (Unicode White_Space), which is also \s of both regex engines of the reference.
bool is_whitespace(char32_t c);
/// What BertNormalizer's clean_text removes: NUL, U+FFFD, and Cc, Cf, Co but for tab, line feed, carriage return.
bool is_bert_control(char32_t c);
/// The CJK blocks that BertNormalizer surrounds with spaces, with the gap the reference has at U+2B820.
bool is_bert_chinese(char32_t c);
/// General category Mn, Unicode 8: what BertNormalizer's strip_accents removes.
bool is_nonspacing_mark(char32_t c);
/// General categories Mn, Mc, Me, Unicode 9: what the StripAccents normalizer removes.
bool is_combining_mark(char32_t c);
/// ASCII punctuation and symbols, and general category P, Unicode 8.
bool is_punctuation(char32_t c);
/// Rust's char::is_numeric: Nd, Nl, No.
bool is_numeric(char32_t c);
/// \w of Rust's regex: Alphabetic, M, Nd, Pc, Join_Control.
bool is_word(char32_t c);

/// Full lower-case mapping without context: at most 2 code points are written to `out`; their count is returned.
size_t to_lower(char32_t c, char32_t out[2]);

constexpr size_t kMaxDecomposition = 18;  // U+FDFA
/// Full canonical (or compatibility) decomposition, Unicode 9; unordered. Their count is returned.
size_t decompose(char32_t c, bool compatibility, char32_t out[kMaxDecomposition]);
/// Canonical combining class, Unicode 9.
uint8_t combining_class(char32_t c);
/// The canonical composition of the pair, Unicode 9; 0 when there is none.
char32_t compose(char32_t first, char32_t second);

/// For a code point that the reference's Split regexes (Oniguruma) and PCRE2 10.42 classify differently: one with as
/// many UTF-8 bytes and the class the reference sees. `c` itself for all others.
char32_t regex_stand_in(char32_t c);

}  // namespace lowrank::text
