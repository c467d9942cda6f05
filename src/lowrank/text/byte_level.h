// GPT-2's alphabet of bytes: each byte is shown as one printable code point below U+0144; '!' to '~' and most of
// Latin-1 as themselves, the others counted up from U+0100 (space is U+0120, 'Ġ'). Source: openai/gpt-2 encoder.py,
// bytes_to_unicode.
#pragma once

#include <cstdint>
#include <optional>

namespace lowrank::text {

constexpr char32_t kByteLevelSpace = 0x120;

char32_t byte_to_code_point(uint8_t byte);
std::optional<uint8_t> code_point_to_byte(char32_t c);

}  // namespace lowrank::text
