// Text as the duplicate and leakage checks see it, and the UTF-8 check every file passes first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowrank::data {

/// Unicode NFKC with case folded, runs of white space made one space, ends trimmed: "  Ｆoo\tBAR " -> "foo bar".
/// `text` must be valid UTF-8 (Error{file_format} otherwise).
std::string normalize(std::string_view text);

/// `text` without ASCII white space at its ends.
std::string_view trim(std::string_view text);

/// 1-based numbers of the lines that hold bytes which are not UTF-8 (surrogates and overlong forms included).
std::vector<int64_t> invalid_utf8_lines(std::string_view text);

}  // namespace lowrank::data
