#include "lowrank/base/error.h"

#include <algorithm>
#include <numeric>

namespace lowrank {

namespace {

std::string compose(std::string_view where, std::string_view problem, std::string_view hint) {
  std::string text = where.empty() ? std::string(problem) : fmt::format("[{}] {}", where, problem);
  if (!hint.empty()) text += fmt::format("\n  hint: {}", hint);
  return text;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

}  // namespace

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid_argument: return "invalid_argument";
    case ErrorKind::file_format: return "file_format";
    case ErrorKind::shape: return "shape";
    case ErrorKind::unsupported: return "unsupported";
    case ErrorKind::io: return "io";
    case ErrorKind::out_of_memory: return "out_of_memory";
    case ErrorKind::cancelled: return "cancelled";
    case ErrorKind::internal: return "internal";
  }
  return "internal";
}

int exit_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid_argument: return 2;
    case ErrorKind::file_format: return 3;
    case ErrorKind::shape: return 4;
    case ErrorKind::unsupported: return 5;
    case ErrorKind::io: return 6;
    case ErrorKind::out_of_memory: return 7;
    case ErrorKind::cancelled: return 130;
    case ErrorKind::internal: return 70;
  }
  return 70;
}

Error::Error(ErrorKind kind, std::string where, std::string problem, std::string hint)
    : std::runtime_error(compose(where, problem, hint)),
      kind_(kind),
      where_(std::move(where)),
      problem_(std::move(problem)),
      hint_(std::move(hint)) {}

void fail(ErrorKind kind, std::string_view where, std::string problem, std::string hint) {
  throw Error(kind, std::string(where), std::move(problem), std::move(hint));
}

void Problems::raise_if_any(std::string hint) const {
  if (list_.empty()) return;
  if (list_.size() == 1) fail(kind_, where_, list_.front(), std::move(hint));
  constexpr size_t kShown = 20;
  std::string text = fmt::format("{} problems:", list_.size());
  for (size_t i = 0; i < std::min(list_.size(), kShown); ++i) text += "\n  - " + list_[i];
  if (list_.size() > kShown) text += fmt::format("\n  … and {} more", list_.size() - kShown);
  fail(kind_, where_, std::move(text), std::move(hint));
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates) {
  std::vector<std::pair<size_t, std::string_view>> near;
  for (const auto& candidate : candidates) {
    const size_t distance = edit_distance(name, candidate);
    if (distance <= std::max<size_t>(2, name.size() / 3)) near.emplace_back(distance, candidate);
  }
  if (near.empty()) return {};
  std::sort(near.begin(), near.end());
  std::string text = ", did you mean ";
  for (size_t i = 0; i < std::min<size_t>(near.size(), 3); ++i) {
    text += fmt::format("{}'{}'", i == 0 ? "" : " or ", near[i].second);
  }
  return text + "?";
}

}  // namespace lowrank
