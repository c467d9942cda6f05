#include "lowrank/data/images/captions.h"

#include <utility>
#include <vector>

#include "lowrank/base/random.h"
#include "lowrank/data/normalize.h"

namespace lowrank::data {

namespace {

constexpr std::string_view kPlaceholder = "[trigger]";

std::string replace_all(std::string text, std::string_view what, std::string_view with) {
  if (what.empty()) return text;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size())) text.replace(at, what.size(), with);
  return text;
}

std::vector<std::string> split(std::string_view text, std::string_view separator, bool keep_empty) {
  std::vector<std::string> parts;
  while (true) {
    const size_t end = separator.empty() ? std::string_view::npos : text.find(separator);
    const auto part = trim(text.substr(0, end));
    if (keep_empty || !part.empty()) parts.emplace_back(part);
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + separator.size());
  }
}

/// The lines that say something.
std::vector<std::string> lines_of(std::string_view caption) { return split(caption, "\n", /*keep_empty=*/false); }

/// Parts in front, parts that may move and go, parts at the end.
struct Parts {
  std::vector<std::string> front, free, back;
};

Parts take_apart(std::string_view text, const CaptionOptions& options) {
  const auto pieces = [&](std::string_view part, bool keep_empty) { return split(part, options.separator, keep_empty); };
  const auto& mark = options.keep_separator;
  const size_t first = mark.empty() ? std::string_view::npos : text.find(mark);
  Parts parts;
  if (first == std::string_view::npos) {
    parts.free = pieces(trim(text), true);
    const auto kept = std::min(static_cast<size_t>(options.keep_tokens), parts.free.size());
    const auto boundary = parts.free.begin() + static_cast<int64_t>(kept);
    parts.front.assign(parts.free.begin(), boundary);
    parts.free.erase(parts.free.begin(), boundary);
    return parts;
  }
  parts.front = pieces(text.substr(0, first), false);
  std::string_view rest = text.substr(first + mark.size());
  if (const size_t second = rest.find(mark); second != std::string_view::npos) {
    parts.back = pieces(rest.substr(second + mark.size()), false);
    rest = rest.substr(0, second);
  }
  parts.free = pieces(rest, false);
  return parts;
}

std::string joined(const Parts& parts) {
  std::string text;
  for (const auto* list : {&parts.front, &parts.free, &parts.back}) {
    for (const auto& part : *list) text += (text.empty() ? "" : ", ") + part;
  }
  return text;
}

/// `text` with the trigger word in its placeholder; `missing` says whether it still has to go in front.
std::string with_trigger(const std::string& text, const std::string& trigger, bool& missing) {
  std::string replaced = replace_all(text, kPlaceholder, trigger);
  missing = !trigger.empty() && replaced.find(trigger) == std::string::npos;
  return replaced;
}

}  // namespace

std::string process_caption(std::string_view caption, const CaptionOptions& options, uint64_t seed, int64_t epoch, uint64_t draw) {
  const auto step = static_cast<uint64_t>(epoch);
  if (options.dropout > 0 && RandomStream(seed, "caption dropout", step, draw).uniform() < options.dropout) return {};
  if (options.dropout_every_epochs > 0 && epoch % options.dropout_every_epochs == 0) return {};

  const auto lines = lines_of(caption);
  std::string text = lines.empty() ? "" : lines.front();
  if (lines.size() > 1 && options.lines == "random") text = lines[RandomStream(seed, "caption line", step, draw).below(lines.size())];
  if (!options.prefix.empty()) text = options.prefix + (text.empty() ? "" : " ") + text;
  if (!options.suffix.empty()) text += (text.empty() ? "" : " ") + options.suffix;
  bool needs_trigger = false;
  text = with_trigger(text, options.trigger, needs_trigger);

  const bool is_marked = !options.keep_separator.empty() && text.find(options.keep_separator) != std::string::npos;
  if (options.shuffle || options.tag_dropout > 0 || is_marked) {
    Parts parts = take_apart(text, options);
    if (options.shuffle) {
      std::vector<std::string> shuffled;
      for (const int64_t at : RandomStream(seed, "caption shuffle", step, draw).permutation(static_cast<int64_t>(parts.free.size()))) {
        shuffled.push_back(std::move(parts.free[static_cast<size_t>(at)]));
      }
      parts.free = std::move(shuffled);
    }
    RandomStream chances(seed, "tag dropout", step, draw);
    if (options.tag_dropout > 0) std::erase_if(parts.free, [&](const std::string&) { return chances.uniform() < options.tag_dropout; });
    text = joined(parts);
  }
  if (needs_trigger) text = options.trigger + (text.empty() ? "" : ", ") + text;
  return replace_all(text, options.secondary_separator, options.separator);
}

std::string plain_caption(std::string_view caption, const CaptionOptions& options) {
  CaptionOptions plain = options;
  plain.dropout = plain.tag_dropout = 0;
  plain.dropout_every_epochs = 0;
  plain.shuffle = false;
  plain.lines = "first";
  return process_caption(caption, plain, 0, 0, 0);
}

}  // namespace lowrank::data
