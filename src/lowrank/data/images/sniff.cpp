#include "lowrank/data/images/sniff.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>

#include "lowrank/base/error.h"
#include "lowrank/text/utf8.h"

namespace lowrank::data {

namespace {

using namespace std::string_view_literals;

std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// The brands of an ISO media file's ftyp box: "avif", "mif1", …; empty for other content.
std::set<std::string, std::less<>> brands(std::string_view content) {
  std::set<std::string, std::less<>> found;
  if (content.substr(4, 4) != "ftyp" || content.size() < 16) return found;
  size_t length = 0;
  for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(content[i]);
  found.emplace(content.substr(8, 4));
  for (size_t at = 16; at + 4 <= std::min({length, content.size(), size_t{256}}); at += 4) found.emplace(content.substr(at, 4));
  return found;
}

std::optional<PictureKind> kind_of(std::string_view content) {
  if (content.starts_with("\xFF\xD8\xFF"sv)) return PictureKind::jpeg;
  if (content.starts_with("\x89PNG\r\n\x1A\n"sv)) return PictureKind::png;
  if (content.starts_with("RIFF") && content.substr(8, 4) == "WEBP") return PictureKind::webp;
  if (content.starts_with("GIF87a") || content.starts_with("GIF89a")) return PictureKind::gif;
  const auto names = content.size() < 12 ? std::set<std::string, std::less<>>() : brands(content);
  if (names.contains("avif") || names.contains("avis")) return PictureKind::avif;
  return std::nullopt;
}

/// What content that is no picture of ours looks like.
std::string describe(std::string_view content) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kKnown = {{{"BM"sv, "a BMP picture"},
                                                                                    {"II*\0"sv, "a TIFF picture"},
                                                                                    {"MM\0*"sv, "a TIFF picture"},
                                                                                    {"%PDF"sv, "a PDF document"},
                                                                                    {"PK\3\4"sv, "a ZIP archive"},
                                                                                    {"<svg"sv, "an SVG drawing"},
                                                                                    {"<?xml"sv, "an XML or SVG text"},
                                                                                    {"<!DOCTYPE"sv, "a web page"},
                                                                                    {"<html"sv, "a web page"}}};
  for (const auto& [start, name] : kKnown) {
    if (content.starts_with(start)) return std::string(name);
  }
  if (content.size() > 12 && content.substr(4, 4) == "ftyp") return fmt::format("a media file of brand '{}'", content.substr(8, 4));
  if (content.find_first_not_of('\0') == std::string_view::npos) return "nothing but zero bytes";
  std::string start(content.substr(0, 24));
  while (!start.empty() && !text::is_utf8(start)) start.pop_back();  // a character cut in two
  if (start.size() + 4 > std::min<size_t>(content.size(), 24) && start.find('\0') == std::string::npos) {
    std::replace_if(
        start.begin(), start.end(), [](char c) { return c >= 0 && c < ' '; }, ' ');
    return fmt::format("text that begins '{}'", start);
  }
  return "unknown bytes";
}

/// True when a PNG holds the chunk acTL before its pixels.
bool is_animated_png(std::string_view content) {
  size_t at = 8;
  while (at + 12 <= content.size()) {
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(content[at + i]);
    const auto name = content.substr(at + 4, 4);
    if (name == "acTL") return true;
    if (name == "IDAT") return false;
    at += length + 12;
  }
  return false;
}

}  // namespace

std::string_view to_string(PictureKind kind) {
  switch (kind) {
    case PictureKind::jpeg: return "JPEG";
    case PictureKind::png: return "PNG";
    case PictureKind::webp: return "WebP";
    case PictureKind::avif: return "AVIF";
    case PictureKind::gif: return "GIF";
  }
  return "picture";
}

bool has_picture_ending(const std::filesystem::path& path) {
  static const std::set<std::string> kEndings = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif"};
  std::string ending = path.extension().string();
  for (char& c : ending) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return kEndings.contains(ending);
}

PictureKind sniff_picture(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.empty()) fail(ErrorKind::file_format, where, "expected a picture, got an empty file (0 bytes)", "copy it anew, or remove it");
  if (const auto kind = kind_of(text_of(bytes))) return *kind;
  fail(ErrorKind::file_format, where, fmt::format("expected a JPEG, PNG, WebP, AVIF or GIF picture, got {}", describe(text_of(bytes))),
       "the content counts, not the file's ending; save it as PNG or JPEG, or remove it");
}

bool has_hidden_animation(std::span<const std::byte> bytes, PictureKind kind) {
  if (kind == PictureKind::png) return is_animated_png(text_of(bytes));
  return kind == PictureKind::avif && brands(text_of(bytes)).contains("avis");
}

}  // namespace lowrank::data
