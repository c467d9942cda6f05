#include "lowrank/base/html.h"

#include <fmt/format.h>

namespace lowrank {

std::string escape_html(std::string_view text) {
  std::string html;
  for (const char letter : text) {
    if (std::string_view("&<>\"'").find(letter) == std::string_view::npos) {
      html += letter;
    } else {
      html += fmt::format("&#{};", static_cast<int>(letter));
    }
  }
  return html;
}

}  // namespace lowrank
