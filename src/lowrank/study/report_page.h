// Files embedded at build time: the page's style and script (report/) and Chart.js from the libjs-chart.js package.
#pragma once

#include <string_view>

namespace lowrank::study {

std::string_view page_style();
std::string_view page_script();
std::string_view chart_library();

}  // namespace lowrank::study
