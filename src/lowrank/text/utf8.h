// UTF-8 in and out. Everything above this file works on valid UTF-8 only.
//
// Malformed input is read as Python's bytes.decode("utf-8", errors="replace") reads it: one U+FFFD for each maximal
// invalid subpart (Unicode 15, §3.9, table 3-8). Source: the Unicode standard, §3.9 D93b.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowrank::text {

/// True when every byte is below 0x80.
bool is_ascii(std::string_view bytes);

/// True when `bytes` is well-formed UTF-8 (no surrogates, no overlong forms, nothing above U+10FFFF).
bool is_utf8(std::string_view bytes);

/// `bytes` with each maximal invalid subpart replaced by U+FFFD.
std::string repair_utf8(std::string_view bytes);

/// Bytes of the code point that starts with `lead`; 1 to 4. Valid UTF-8 only.
inline size_t utf8_length(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// The code point at `at`, which is moved behind it. Valid UTF-8 only.
inline char32_t next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<uint8_t>(text[at + i])); };
  const size_t length = utf8_length(text[at]);
  char32_t c = byte(0);
  if (length == 2) c = (c & 0x1F) << 6 | (byte(1) & 0x3F);
  if (length == 3) c = (c & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  if (length == 4) c = (c & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  at += length;
  return c;
}

/// Where the code point that ends before `at` begins. Valid UTF-8 only, at > 0.
inline size_t previous_boundary(std::string_view text, size_t at) {
  do --at;
  while ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  return at;
}

size_t count_code_points(std::string_view text);

void append_utf8(std::string& out, char32_t c);

}  // namespace lowrank::text
