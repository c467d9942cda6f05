// A text under normalisation that never forgets where each of its bytes came from.
//
// `origin` has one entry for each byte of `text`: the byte range of the original string that this byte stands for. All
// bytes of one code point share an entry, and entries never go backwards. A token that covers bytes [b, e) of `text`
// covers [origin[b].begin, origin[e-1].end) of the original. The rules for who inherits which range are those of the
// reference's NormalizedString (tokenizers 0.23, src/tokenizer/normalizer.rs): a replaced code point keeps its range,
// an inserted one shares that of the code point before it, removed ones vanish.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/text/utf8.h"

namespace lowrank::text {

struct Span {
  uint32_t begin, end;
};

struct Normalized {
  std::string text;          // valid UTF-8
  std::vector<Span> origin;  // as many as bytes of text

  void reserve(size_t bytes);
  void append(char32_t c, Span span);
  void append(std::string_view bytes, Span span);
  /// Bytes [begin, end) of `other` with their origins.
  void append(const Normalized& other, size_t begin, size_t end);

  /// The range of the original that bytes [begin, end) of text stand for; begin < end.
  Span original(size_t begin, size_t end) const { return {origin[begin].begin, origin[end - 1].end}; }
};

/// Valid UTF-8 as it is: each code point stands for itself, counted from byte `start` of the original.
Normalized identity(std::string_view text, size_t start = 0);

/// The text rewritten code point by code point: for each c, `f(c, emit)` calls emit(d) for what takes its place
/// (nothing to remove it). All that is emitted keeps c's range.
template <class F>
Normalized map_code_points(const Normalized& in, F f) {
  Normalized out;
  out.reserve(in.text.size() + in.text.size() / 4);
  for (size_t at = 0; at < in.text.size();) {
    const Span span = in.origin[at];
    const char32_t c = next_code_point(in.text, at);
    f(c, [&](char32_t d) { out.append(d, span); });
  }
  return out;
}

/// A code point of a rewritten text with what it did to the old one: 0 it replaces the next code point, 1 it is
/// inserted, -n it replaces the next one and the n after that are removed.
struct Change {
  char32_t c;
  int32_t change;
};

/// Applies changes that together consume the whole text.
Normalized apply_changes(const Normalized& in, const std::vector<Change>& changes);

}  // namespace lowrank::text
