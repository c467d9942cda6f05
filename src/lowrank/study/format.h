// Numbers as a reader wants them: "84.3 %", "+0.8", "2.1 MB", "2 min 5 s". "–" for what is unknown.
#pragma once

#include <string>
#include <string_view>

#include "lowrank/base/html.h"
#include "lowrank/study/statistics.h"

namespace lowrank::study {

std::string percent(double share);             // 0.8431 -> "84.3 %"
std::string points(double difference);         // 0.0081 -> "+0.8" (percentage points, a true minus sign)
std::string points_range(Interval interval);   // "−0.3 to +1.9"
std::string percent_range(Interval interval);  // "82.1 to 86.4 %"
std::string decimal(double value, int digits);
std::string p_text(double p);     // "0.031", "<0.001"
std::string count(double value);  // 294912 -> "294,912"
std::string bytes(double value);  // decimal units
std::string duration(double seconds);
std::string rate(double learning_rate);  // 0.0005 -> "5e-4"

/// Safe in a Markdown paragraph and in a table cell: the marks of Markdown escaped, line ends as spaces.
std::string escape_markdown(std::string_view text);
/// RFC 4648 with padding.
std::string base64(std::string_view bytes);
/// Safe inside <script>: '<' as \u003c.
std::string escape_script(std::string_view json);

}  // namespace lowrank::study
