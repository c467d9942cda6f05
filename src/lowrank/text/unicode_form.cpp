#include <algorithm>
#include <array>

#include "lowrank/text/normalizer.h"
#include "lowrank/text/unicode.h"

namespace lowrank::text {

namespace {

struct Decomposed {
  char32_t c;
  int32_t change;
  uint8_t ccc;
};

// Full decomposition in canonical order: the first part of each code point replaces it (0), the others are inserted
// (1).
std::vector<Decomposed> decompose_all(std::string_view text, bool compatibility) {
  std::vector<Decomposed> out;
  out.reserve(text.size());
  std::array<char32_t, kMaxDecomposition> parts{};
  for (size_t at = 0; at < text.size();) {
    const size_t count = decompose(next_code_point(text, at), compatibility, parts.data());
    for (size_t i = 0; i < count; ++i) out.push_back({parts[i], i > 0, combining_class(parts[i])});
  }
  const auto starter = [](const Decomposed& d) { return d.ccc == 0; };
  for (auto run = out.begin(); run != out.end();) {
    run = std::find_if_not(run, out.end(), starter);
    const auto end = std::find_if(run, out.end(), starter);
    std::stable_sort(run, end, [](const Decomposed& a, const Decomposed& b) { return a.ccc < b.ccc; });
    run = end;
  }
  return out;
}

// Canonical composition. A composed code point replaces what its parts replaced: changes a and b give a + b - 1.
std::vector<Change> compose_all(const std::vector<Decomposed>& in) {
  std::vector<Change> out, blocked;  // blocked: marks between the last starter and the next, not composed with it
  std::optional<Change> starter;
  int last_ccc = -1;  // of blocked.back(); -1 when blocked is empty
  for (const auto& [c, change, ccc] : in) {
    if (!starter) {
      if (ccc == 0)
        starter = Change{c, change};
      else
        out.push_back({c, change});
      continue;
    }
    if (last_ccc < ccc) {
      if (const char32_t composed = compose(starter->c, c)) {
        starter = Change{composed, starter->change + change - 1};
        continue;
      }
    }
    if (ccc != 0) {
      blocked.push_back({c, change});
      last_ccc = ccc;
      continue;
    }
    out.push_back(*starter);
    out.insert(out.end(), blocked.begin(), blocked.end());
    blocked.clear();
    last_ccc = -1;
    starter = Change{c, change};
  }
  if (starter) out.push_back(*starter);
  out.insert(out.end(), blocked.begin(), blocked.end());
  return out;
}

}  // namespace

Normalized normalize_unicode(const Normalized& in, UnicodeForm form) {
  const auto decomposed = decompose_all(in.text, form == UnicodeForm::nfkc || form == UnicodeForm::nfkd);
  if (form == UnicodeForm::nfc || form == UnicodeForm::nfkc) return apply_changes(in, compose_all(decomposed));
  std::vector<Change> changes;
  changes.reserve(decomposed.size());
  for (const auto& [c, change, _] : decomposed) changes.push_back({c, change});
  return apply_changes(in, changes);
}

}  // namespace lowrank::text
