// Text in a page.
#pragma once

#include <string>
#include <string_view>

namespace lowrank {

/// & < > " ' as entities: safe in text and in quoted attributes.
std::string escape_html(std::string_view text);

}  // namespace lowrank
