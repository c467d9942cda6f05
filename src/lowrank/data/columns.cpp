#include "lowrank/data/columns.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "lowrank/base/error.h"
#include "lowrank/data/normalize.h"

namespace lowrank::data {

namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kPairs = {{{"sentence1", "sentence2"},
                                                                                  {"text", "text_pair"},
                                                                                  {"text1", "text2"},
                                                                                  {"premise", "hypothesis"},
                                                                                  {"question1", "question2"},
                                                                                  {"question", "sentence"},
                                                                                  {"anchor", "positive"}}};
constexpr std::array<std::string_view, 12> kTexts = {"text",    "sentence", "content", "description", "review", "comment",
                                                     "message", "document", "body",    "question",    "tweet",  "utterance"};
constexpr std::array<std::string_view, 11> kLabels = {"label", "labels", "class",     "category", "section", "target",
                                                      "score", "intent", "sentiment", "topic",    "tags"};

/// The column whose name is `usual` up to case, or "".
std::string find(const std::vector<std::string>& names, std::string_view usual) {
  for (const auto& name : names) {
    if (normalize(name) == usual) return name;
  }
  return {};
}

template <class Usual>
std::string find_first(const std::vector<std::string>& names, const Usual& usual) {
  for (const auto candidate : usual) {
    if (auto name = find(names, candidate); !name.empty()) return name;
  }
  return {};
}

void require(const std::vector<std::string>& names, const std::string& wanted, const char* option, std::string_view where) {
  if (wanted.empty() || std::find(names.begin(), names.end(), wanted) != names.end()) return;
  fail(ErrorKind::invalid_argument, where,
       fmt::format("expected a column '{}' ({}), got columns: {}{}", wanted, option, fmt::join(names, ", "), did_you_mean(wanted, names)));
}

void refuse_repeats(const std::vector<std::string>& names, std::string_view where) {
  std::set<std::string> seen;
  for (const auto& name : names) {
    check(seen.insert(name).second, ErrorKind::file_format, where, "two columns are named '{}'", name);
  }
}

void detect_texts(Columns& columns, const std::vector<std::string>& names) {
  for (const auto& [first, second] : kPairs) {
    const auto text = find(names, first), pair = find(names, second);
    if (text.empty() || pair.empty()) continue;
    columns.text = text;
    columns.text_pair = pair;
    columns.detected.push_back(fmt::format("text pair column '{}'", pair));
    break;
  }
  if (columns.text.empty()) columns.text = find_first(names, kTexts);
  if (!columns.text.empty()) columns.detected.push_back(fmt::format("text column '{}'", columns.text));
}

}  // namespace

Columns detect_columns(const std::vector<std::string>& names, const TableOptions& options, std::string_view where) {
  refuse_repeats(names, where);
  require(names, options.text_column, "--text-column", where);
  require(names, options.text_pair_column, "--text-pair-column", where);
  require(names, options.label_column, "--label-column", where);
  Columns columns{options.text_column, options.text_pair_column, options.label_column, {}, {}};
  if (columns.text.empty() && columns.text_pair.empty()) detect_texts(columns, names);
  if (columns.text.empty()) columns.text = find_first(names, kTexts);
  if (columns.text.empty()) {
    fail(ErrorKind::file_format, where, fmt::format("no column with a usual name for text among: {}", fmt::join(names, ", ")),
         "name it with --text-column (the first line of a CSV or TSV file holds the column names)");
  }
  if (columns.label.empty()) {
    columns.label = find_first(names, kLabels);
    if (!columns.label.empty()) columns.detected.push_back(fmt::format("label column '{}'", columns.label));
  }
  if (columns.label.empty() && options.labels_required) {
    fail(ErrorKind::file_format, where, fmt::format("no column with a usual name for labels among: {}", fmt::join(names, ", ")),
         "name it with --label-column");
  }
  for (const auto& name : names) {
    if (name != columns.text && name != columns.text_pair && name != columns.label) columns.unused.push_back(name);
  }
  return columns;
}

}  // namespace lowrank::data
