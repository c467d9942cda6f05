// What kind of picture a file is, from its first bytes: names lie, content does not.
#pragma once

#include <filesystem>
#include <span>
#include <string>

namespace lowrank::data {

enum class PictureKind { jpeg, png, webp, avif, gif };

std::string_view to_string(PictureKind kind);  // "JPEG", "PNG", …

/// True for the endings .jpg .jpeg .png .webp .avif .gif, in any case.
bool has_picture_ending(const std::filesystem::path& path);

/// The kind that the bytes show. Throws Error{file_format}: an empty file; content that is no picture that we read,
/// saying what it is instead as far as it shows (text, HEIC, TIFF, BMP, SVG, ZIP, PDF).
PictureKind sniff_picture(std::span<const std::byte> bytes, const std::string& where);

/// True for a PNG with an animation chunk (acTL) and an AVIF image sequence: libvips reads both as one still picture.
bool has_hidden_animation(std::span<const std::byte> bytes, PictureKind kind);

}  // namespace lowrank::data
