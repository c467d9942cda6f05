// A picture as the models see it: 8-bit sRGB, upright, opaque. Whatever the file held is brought to that on reading.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "lowrank/data/images/sniff.h"

namespace lowrank::data {

struct Size {
  int64_t width = 0, height = 0;  // pixels

  auto operator<=>(const Size&) const = default;
  int64_t area() const { return width * height; }
};

std::string to_string(Size size);  // "512x768", width first

/// Rows from the top, pixels from the left, R G B in turn.
struct Picture {
  Size size;
  std::vector<uint8_t> rgb;        // [height, width, 3]
  std::vector<uint8_t> alpha;      // [height, width], 255 opaque; empty when the file has none or nobody asked
  std::vector<std::string> notes;  // what was assumed on reading: "its colour profile is unusable; taken as sRGB"
};

using Color = std::array<uint8_t, 3>;  // R, G, B

/// "#ffffff", "#FFF", "white", "black" or "grey". Throws Error{invalid_argument} for other text.
Color parse_color(std::string_view text);

struct ReadOptions {
  int64_t max_pixels = 100'000'000;    // of a file, before decoding: larger ones are refused
  Color background = {255, 255, 255};  // under what is transparent
  bool keep_alpha = false;             // fill Picture::alpha (for masks)
};

/// What the header says, before a pixel is decoded.
struct PictureHeader {
  PictureKind kind = PictureKind::png;
  Size size;  // upright: after the EXIF orientation
  bool has_alpha = false;
};

/// Throws Error{file_format} for what is empty, no picture, animated, or has a damaged header, and
/// Error{invalid_argument} for one over options.max_pixels; `where` names it in all of them.
PictureHeader read_header(std::span<const std::byte> bytes, const std::string& where, const ReadOptions& options);

/// Decodes: EXIF orientation applied; the embedded colour profile converted to sRGB (perceptual intent), without one sRGB
/// assumed; CMYK without a profile as R = (255−C)·(255−K)/255; 16 bits rounded down to 8; grey spread to three channels;
/// palettes expanded; alpha laid over options.background. Throws what read_header throws, and Error{file_format} for a
/// truncated or damaged file: nothing is filled in for missing pixels.
Picture decode_picture(std::span<const std::byte> bytes, const std::string& where, const ReadOptions& options);

/// decode_picture over a file; Error{io} when it cannot be read.
Picture read_picture(const std::filesystem::path& path, const ReadOptions& options);

/// PNG bytes of RGB pixels, without metadata: equal pixels, equal bytes.
std::string encode_png(const Picture& picture);

/// encode_png into a file, atomically.
void write_png(const std::filesystem::path& path, const Picture& picture);

}  // namespace lowrank::data
