// Text inside a PNG, where programs that make pictures write how they made them. Source: PNG specification (third edition), 11.3.3.
#pragma once

#include <string>
#include <string_view>

namespace lowrank::data {

/// `png` with one text chunk behind its header: tEXt, or iTXt (UTF-8, not compressed) when `text` is not ASCII. Error{internal} for bytes
/// that are no PNG and a keyword that is not 1 to 79 printable ASCII characters.
std::string with_png_text(std::string_view png, std::string_view keyword, std::string_view text);

}  // namespace lowrank::data
