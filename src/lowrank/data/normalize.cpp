#include "lowrank/data/normalize.h"

#include <cstdlib>
#include <memory>
#include <utf8proc.h>

#include "lowrank/base/error.h"
#include "lowrank/text/utf8.h"

namespace lowrank::data {

namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string fold(std::string_view text) {
  if (text::is_ascii(text)) {
    std::string folded(text);
    for (char& c : folded) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return folded;
  }
  constexpr auto kNfkcCasefold = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD);
  utf8proc_uint8_t* mapped = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                                   &mapped, kNfkcCasefold);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  check(length >= 0, ErrorKind::file_format, "normalize", "expected UTF-8 text: {}", utf8proc_errmsg(length));
  return std::string(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
}

}  // namespace

std::string normalize(std::string_view text) {
  std::string out;
  for (const char c : fold(text)) {
    if (!is_space(c)) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<int64_t> invalid_utf8_lines(std::string_view text) {
  std::vector<int64_t> lines;
  for (int64_t line = 1; !text.empty(); ++line) {
    const size_t end = text.find('\n');
    if (!text::is_utf8(text.substr(0, end))) lines.push_back(line);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

}  // namespace lowrank::data
