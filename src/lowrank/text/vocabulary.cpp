#include "lowrank/text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace lowrank::text {

namespace {

constexpr int64_t kMaxId = 1 << 22;  // 4 Mi tokens: more is a broken file, not a vocabulary

// Multiply and fold, eight bytes at a time. The tables hold trusted vocabularies; only lookups come from outside.
uint32_t hash_of(std::string_view text) {
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15U;
  uint64_t hash = text.size() * kMultiplier;
  size_t at = 0;
  const auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
  };
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + at, 8);
    mix(word);
  }
  uint64_t rest = 0;
  for (size_t i = at; i < text.size(); ++i) rest = rest << 8 | static_cast<uint8_t>(text[i]);
  mix(rest);
  return static_cast<uint32_t>(hash);
}

}  // namespace

StringTable::StringTable(const std::vector<std::pair<std::string_view, int32_t>>& entries)
    : slots_(std::bit_ceil(std::max<size_t>(entries.size() * 2, 8))) {
  size_t total = 0;
  for (const auto& [text, _] : entries) total += text.size();
  bytes_.reserve(total);
  for (const auto& [text, id] : entries) {
    const uint32_t hash = hash_of(text);
    size_t at = hash & (slots_.size() - 1);
    while (slots_[at].id >= 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {hash, static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(text.size()), id};
    bytes_ += text;
    longest_ = std::max(longest_, text.size());
  }
}

int32_t StringTable::find(std::string_view text) const {
  if (text.size() > longest_) return -1;
  const uint32_t hash = hash_of(text);
  for (size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[at];
    if (slot.id < 0) return -1;
    if (slot.hash == hash && std::string_view(bytes_).substr(slot.begin, slot.length) == text) return slot.id;
  }
}

Vocabulary::Vocabulary(const Component& model) {
  const Component vocab = model.child("vocab");
  for (const auto& [token, value] : vocab.value().items()) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > kMaxId) {
      vocab.broken("gives token '{}' the id {}, which is no number from 0 to {}", token, value.dump(), kMaxId);
    }
    const auto id = value.get<size_t>();
    if (id >= tokens_.size()) {
      tokens_.resize(id + 1);
      used_.resize(id + 1);
    }
    if (used_[id]) vocab.broken("gives '{}' and '{}' the same id {}", tokens_[id], token, id);
    tokens_[id] = token;
    used_[id] = true;
  }
  build_table();
}

Vocabulary::Vocabulary(std::vector<std::string> tokens, const std::string& where)
    : tokens_(std::move(tokens)), used_(tokens_.size(), true) {
  std::vector<size_t> order(tokens_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return tokens_[a] < tokens_[b]; });
  for (size_t i = 1; i < order.size(); ++i) {
    check(tokens_[order[i - 1]] != tokens_[order[i]], ErrorKind::file_format, where, "token '{}' is on lines {} and {}", tokens_[order[i]],
          order[i - 1] + 1, order[i] + 1);
  }
  build_table();
}

const std::string* Vocabulary::token(int32_t id) const {
  return id >= 0 && id < end_id() && used_[static_cast<size_t>(id)] ? &tokens_[static_cast<size_t>(id)] : nullptr;
}

void Vocabulary::build_table() {
  std::vector<std::pair<std::string_view, int32_t>> entries;
  entries.reserve(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (used_[id]) entries.emplace_back(tokens_[id], static_cast<int32_t>(id));
  }
  size_ = static_cast<int32_t>(entries.size());
  table_ = StringTable(entries);
}

}  // namespace lowrank::text
