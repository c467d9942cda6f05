// The "added_tokens" of tokenizer.json: tokens found in the text itself, before the model sees it. Those with
// normalized = false are looked for in the raw text, the others in the normalised one. Source: tokenizers 0.23,
// src/tokenizer/added_vocabulary.rs.
#pragma once

#include <array>
#include <bitset>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lowrank/text/component.h"
#include "lowrank/text/model.h"
#include "lowrank/text/normalizer.h"
#include "lowrank/text/pre_tokenized.h"

namespace lowrank::text {

struct AddedToken {
  int32_t id = -1;
  std::string content, shown;  // shown: as decoding has it, normalised where `normalized` says so
  bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

/// Leftmost-longest search for many strings at once: a byte trie.
class TokenTrie {
 public:
  /// False when `text` is empty or already there.
  bool insert(std::string_view text, size_t value);
  struct Found {
    size_t begin, end, value;
  };
  /// The leftmost, then longest, string at or after `at`; begin == npos when there is none.
  Found find(std::string_view text, size_t at) const;
  bool empty() const { return nodes_ == 1; }

 private:
  std::unordered_map<uint64_t, uint32_t> children_;  // (node, byte) to node
  std::unordered_map<uint32_t, size_t> values_;
  std::bitset<256> first_;
  uint32_t nodes_ = 1;
};

class AddedTokens {
 public:
  AddedTokens() = default;
  /// Ids follow the reference: a token of the model keeps its id there, others are counted on from the model's size.
  /// Throws Error{file_format} when the file says otherwise, or two tokens are the same text.
  AddedTokens(std::vector<AddedToken> tokens, const Model& model, const Normalizer* normalizer, const std::string& where);

  /// The valid UTF-8 `text` normalised and cut at added tokens.
  PreTokenized extract(std::string_view text, const Normalizer* normalizer) const;

  const AddedToken* find(std::string_view content) const;
  const AddedToken* find(int32_t id) const;
  bool is_special(std::string_view token) const;
  const std::vector<AddedToken>& all() const { return tokens_; }

 private:
  struct Stretch {
    size_t begin, end;
    const AddedToken* token;  // nullptr between tokens
  };
  std::vector<Stretch> cut(std::string_view text, const TokenTrie& trie) const;

  std::vector<AddedToken> tokens_;
  std::map<std::string, size_t, std::less<>> by_content_;
  std::unordered_map<int32_t, size_t> by_id_;
  TokenTrie raw_, normalized_;
};

std::vector<AddedToken> read_added_tokens(const Component& file);

}  // namespace lowrank::text
