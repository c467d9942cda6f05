#include "lowrank/study/format.h"

#include <array>
#include <cmath>
#include <fmt/format.h>

namespace lowrank::study {

namespace {

constexpr const char* kNothing = "–";

std::string replace_each(std::string_view text, std::string_view letters, auto&& replacement) {
  std::string result;
  for (const char letter : text) {
    if (letters.find(letter) == std::string_view::npos) {
      result += letter;
    } else {
      result += replacement(letter);
    }
  }
  return result;
}

}  // namespace

std::string percent(double share) { return std::isfinite(share) ? fmt::format("{:.1f} %", 100 * share) : kNothing; }

std::string points(double difference) {
  if (!std::isfinite(difference)) return kNothing;
  const std::string text = fmt::format("{:.1f}", std::abs(100 * difference));
  return (text == "0.0" ? "" : difference < 0 ? "−" : "+") + text;
}

std::string points_range(Interval interval) {
  return std::isfinite(interval.low) ? fmt::format("{} to {}", points(interval.low), points(interval.high)) : kNothing;
}

std::string percent_range(Interval interval) {
  return std::isfinite(interval.low) ? fmt::format("{:.1f} to {}", 100 * interval.low, percent(interval.high)) : kNothing;
}

std::string decimal(double value, int digits) { return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : kNothing; }

std::string p_text(double p) { return !std::isfinite(p) ? kNothing : p < 0.001 ? "<0.001" : fmt::format("{:.3f}", p); }

std::string count(double value) {
  if (!std::isfinite(value)) return kNothing;
  std::string digits = fmt::format("{:.0f}", value);
  for (auto place = static_cast<std::ptrdiff_t>(digits.size()) - 3; place > (digits[0] == '-'); place -= 3) {
    digits.insert(static_cast<size_t>(place), ",");
  }
  return digits;
}

std::string bytes(double value) {
  if (!std::isfinite(value)) return kNothing;
  constexpr std::array kUnits{"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  return fmt::format("{:.{}f} {}", value, unit == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2, kUnits[unit]);
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return kNothing;
  if (seconds < 100) return fmt::format("{:.1f} s", seconds);
  const auto total = static_cast<int64_t>(std::llround(seconds));
  if (total < 3600) return fmt::format("{} min {} s", total / 60, total % 60);
  return fmt::format("{} h {} min", total / 3600, total / 60 % 60);
}

std::string rate(double learning_rate) {
  if (!std::isfinite(learning_rate) || learning_rate <= 0) return kNothing;
  auto exponent = static_cast<int>(std::floor(std::log10(learning_rate) + 1e-9));
  return fmt::format("{:.3g}e{}", learning_rate / std::pow(10.0, exponent), exponent);
}

std::string escape_markdown(std::string_view text) {
  return replace_each(text, "\\|<>*_`[]#~\n\r", [](char letter) {
    return letter == '\n' || letter == '\r' ? std::string(" ") : letter == '<' ? "&lt;" : std::string("\\") + letter;
  });
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t word = 0;
    for (size_t k = 0; k < 3; ++k) word = word << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) text += k <= count ? kDigits[word >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::string escape_script(std::string_view json) {
  return replace_each(json, "<", [](char) { return "\\u003c"; });
}

}  // namespace lowrank::study
