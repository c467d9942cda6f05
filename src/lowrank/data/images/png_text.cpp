#include "lowrank/data/images/png_text.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "lowrank/base/error.h"

namespace lowrank::data {

namespace {

constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";
constexpr size_t kHeaderEnd = 8 + 12 + 13;  // signature, and IHDR with its length, type and check sum

std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8), static_cast<char>(value)};
}

/// CRC-32 of ISO 3309, as annex D of the specification has it.
uint32_t crc32(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> values{};
    for (uint32_t n = 0; n < 256; ++n) {
      uint32_t c = n;
      for (int bit = 0; bit < 8; ++bit) c = (c & 1) != 0 ? 0xEDB88320U ^ (c >> 1) : c >> 1;
      values[n] = c;
    }
    return values;
  }();
  uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) crc = table[(crc ^ static_cast<uint8_t>(byte)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

}  // namespace

std::string with_png_text(std::string_view png, std::string_view keyword, std::string_view text) {
  check(png.size() > kHeaderEnd && png.starts_with(kSignature) && png.substr(12, 4) == "IHDR", ErrorKind::internal, "png",
        "expected a PNG, got {} other bytes", png.size());
  const auto printable = [](char c) { return c >= ' ' && c <= '~'; };
  check(!keyword.empty() && keyword.size() < 80 && std::ranges::all_of(keyword, printable), ErrorKind::internal, "png",
        "expected a keyword of 1 to 79 printable characters, got '{}'", keyword);
  const bool ascii = std::ranges::all_of(text, [](char c) { return static_cast<uint8_t>(c) < 0x80; });
  const std::string_view middle = ascii ? std::string_view("\0", 1) : std::string_view("\0\0\0\0\0", 5);  // not compressed, no language
  std::string chunk = fmt::format("{}{}{}{}", ascii ? "tEXt" : "iTXt", keyword, middle, text);
  const uint32_t sum = crc32(chunk);
  return fmt::format("{}{}{}{}{}", png.substr(0, kHeaderEnd), big_endian(static_cast<uint32_t>(chunk.size() - 4)), chunk, big_endian(sum),
                     png.substr(kHeaderEnd));
}

}  // namespace lowrank::data
