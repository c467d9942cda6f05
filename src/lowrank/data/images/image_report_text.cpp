#include <algorithm>

#include "lowrank/data/images/image_report.h"
#include "lowrank/data/report.h"

namespace lowrank::data {

namespace {

constexpr size_t kShown = 5;

void line(std::string& out, std::string_view name, std::string_view text) { out += fmt::format("  {:<12}{}\n", name, text); }

/// "none", or the number and the first names.
std::string listed(const std::vector<std::string>& names) {
  if (names.empty()) return "none";
  const std::vector<std::string> first(names.begin(), names.begin() + static_cast<int64_t>(std::min(names.size(), kShown)));
  return fmt::format("{}: {}{}", names.size(), fmt::join(first, ", "),
                     names.size() > kShown ? fmt::format(", … {} more", names.size() - kShown) : "");
}

/// As `listed`, with `format` for a figure: "a.png (1.3x)".
template <class Format>
std::string listed(const std::vector<NamedFigure>& figures, Format&& format) {
  std::vector<std::string> names;
  for (const auto& [name, figure] : figures) names.push_back(fmt::format("{} ({})", name, format(figure)));
  return listed(names);
}

void line_if_any(std::string& out, std::string_view name, const std::vector<std::string>& names) {
  if (!names.empty()) line(out, name, listed(names));
}

void list_sources(std::string& out, const ImageReport& report) {
  line(out, "folder", fmt::format("{}  {}, captions from {}", report.folder, counted(report.pictures, "picture"), report.layout));
  if (report.prior_pictures > 0) line(out, "prior", counted(report.prior_pictures, "picture"));
  line(out, "an epoch", counted(report.draws, "showing"));
  for (const auto& item : report.folders) {
    if (report.classes.empty() && (report.folders.size() > 1 || item.repeats > 1)) {
      line(out, "", fmt::format("{}  {} × {}", item.name, counted(item.pictures, "picture"), item.repeats));
    }
  }
  if (report.masks > 0) line(out, "masks", counted(report.masks, "picture") + " with a mask");
  for (const auto& item : report.classes)
    line(out, &item == report.classes.data() ? "classes" : "", fmt::format("{:<24}{:>7}", item.label, item.pictures));
}

void list_captions(std::string& out, const ImageReport& report) {
  if (report.layout == "classes") return;
  out += "\n";
  line(out, "no caption", listed(report.missing_captions));
  line(out, "empty", listed(report.empty_captions));
  line_if_any(out, "multi-line", report.several_lines);
  if (report.token_limit > 0) {
    const auto tokens = [](double count) { return fmt::format("{:.0f} tokens", count); };
    line(out, "too long",
         report.long_prompts.empty() ? fmt::format("none over {} tokens", report.token_limit)
                                     : listed(report.long_prompts, tokens) + fmt::format("; cut after {}", report.token_limit));
  }
  for (const auto& caption : report.captions) line(out, &caption == report.captions.data() ? "shown as" : "", "\"" + caption + "\"");
}

void list_sizes(std::string& out, const ImageReport& report) {
  out += fmt::format("\n  {:<12}{:>9}{:>9}\n", "buckets", "pictures", "showings");
  for (const auto& item : report.buckets) out += fmt::format("  {:<12}{:>9}{:>9}\n", to_string(item.size), item.pictures, item.draws);
  line(out, "cropped",
       fmt::format("{:.1f} % of the area on average; over a tenth: {}", 100 * report.mean_cropped,
                   listed(report.cropped, [](double share) { return fmt::format("{:.0f} %", 100 * share); })));
  line(out, "upscaled", listed(report.upscaled, [](double factor) { return fmt::format("{:.2f}x", factor); }));
}

void list_checks(std::string& out, const ImageReport& report) {
  std::vector<std::string> groups;
  for (const auto& group : report.duplicates) groups.push_back(fmt::format("{}", fmt::join(group, " = ")));
  line(out, "duplicates", listed(groups));
  line(out, "broken", report.broken.empty() ? "none" : counted(static_cast<int64_t>(report.broken.size()), "file") + " left out");
  for (const auto& problem : report.broken) line(out, "", problem);
  line_if_any(out, "no mask", report.missing_masks);
  line_if_any(out, "orphans", report.orphans);
  line_if_any(out, "not read", report.unused_captions);
  line_if_any(out, "unused keys", report.unused_keys);
  line_if_any(out, "other files", report.other_files);
  line_if_any(out, "assumed", report.notes);
  line(out, "sha256", report.hash);
}

}  // namespace

std::string ImageReport::to_text() const {
  std::string out = "Pictures\n";
  list_sources(out, *this);
  list_captions(out, *this);
  list_sizes(out, *this);
  list_checks(out, *this);
  return out;
}

}  // namespace lowrank::data
