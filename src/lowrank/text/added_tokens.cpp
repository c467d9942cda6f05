#include "lowrank/text/added_tokens.h"

#include <algorithm>

#include "lowrank/text/unicode.h"

namespace lowrank::text {

namespace {

bool word_before(std::string_view text, size_t at) {
  if (at == 0) return false;
  at = previous_boundary(text, at);
  return is_word(next_code_point(text, at));
}

bool word_after(std::string_view text, size_t at) { return at < text.size() && is_word(next_code_point(text, at)); }

size_t skip_spaces_back(std::string_view text, size_t at) {
  while (at > 0) {
    const size_t begin = previous_boundary(text, at);
    size_t next = begin;
    if (!is_whitespace(next_code_point(text, next))) break;
    at = begin;
  }
  return at;
}

size_t skip_spaces(std::string_view text, size_t at) {
  for (size_t next = at; next < text.size() && is_whitespace(next_code_point(text, next));) at = next;
  return at;
}

constexpr uint64_t edge(uint32_t node, char byte) { return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte); }

}  // namespace

bool TokenTrie::insert(std::string_view text, size_t value) {
  if (text.empty()) return false;
  first_.set(static_cast<uint8_t>(text[0]));
  uint32_t node = 0;
  for (const char byte : text) {
    const auto [child, is_new] = children_.try_emplace(edge(node, byte), nodes_);
    if (is_new) ++nodes_;
    node = child->second;
  }
  return values_.try_emplace(node, value).second;
}

TokenTrie::Found TokenTrie::find(std::string_view text, size_t at) const {
  for (; at < text.size(); ++at) {
    if (!first_[static_cast<uint8_t>(text[at])]) continue;
    Found found{std::string_view::npos, 0, 0};
    uint32_t node = 0;
    for (size_t i = at; i < text.size(); ++i) {
      const auto child = children_.find(edge(node, text[i]));
      if (child == children_.end()) break;
      node = child->second;
      if (const auto value = values_.find(node); value != values_.end()) found = {at, i + 1, value->second};
    }
    if (found.begin != std::string_view::npos) return found;
  }
  return {std::string_view::npos, 0, 0};
}

std::vector<AddedToken> read_added_tokens(const Component& file) {
  std::vector<AddedToken> tokens;
  if (!file.has("added_tokens")) return tokens;
  for (const Component& entry : file.children("added_tokens")) {
    entry.allow({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    AddedToken token;
    token.id = entry.get<int32_t>("id");
    token.content = entry.get<std::string>("content");
    token.single_word = entry.get<bool>("single_word");
    token.lstrip = entry.get<bool>("lstrip");
    token.rstrip = entry.get<bool>("rstrip");
    token.normalized = entry.get<bool>("normalized");
    token.special = entry.get<bool>("special");
    tokens.push_back(std::move(token));
  }
  return tokens;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Model& model, const Normalizer* normalizer, const std::string& where)
    : tokens_(std::move(tokens)) {
  int32_t next_id = model.vocabulary().size();
  for (size_t i = 0; i < tokens_.size(); ++i) {
    AddedToken& token = tokens_[i];
    const int32_t known = model.vocabulary().find(token.content);
    const int32_t id = known >= 0 ? known : next_id++;
    check(token.id == id, ErrorKind::file_format, where, "added token '{}' has the id {} in the file, but takes the id {}", token.content,
          token.id, id);
    token.shown = token.content;
    if (token.normalized && normalizer) token.shown = normalizer->apply(identity(token.content)).text;
    const bool is_new = (token.normalized ? normalized_ : raw_).insert(token.shown, i);
    check(is_new, ErrorKind::file_format, where, "added token '{}' is empty or given twice (searched for as '{}')", token.content,
          token.shown);
    by_content_.emplace(token.content, i);
    by_id_.emplace(token.id, i);
  }
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto found = by_content_.find(content);
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

bool AddedTokens::is_special(std::string_view token) const {
  const AddedToken* found = find(token);
  return found && found->special;
}

std::vector<AddedTokens::Stretch> AddedTokens::cut(std::string_view text, const TokenTrie& trie) const {
  std::vector<Stretch> out;
  size_t done = 0;
  for (size_t at = 0; !trie.empty();) {
    const auto [found_begin, found_end, value] = trie.find(text, at);
    if (found_begin == std::string_view::npos) break;
    at = found_end;
    const AddedToken& token = tokens_[value];
    if (token.single_word && (word_before(text, found_begin) || word_after(text, found_end))) continue;
    size_t begin = found_begin, end = found_end;
    if (token.lstrip) begin = std::max(skip_spaces_back(text, begin), done);
    if (token.rstrip) end = skip_spaces(text, end);
    if (done < begin) out.push_back({done, begin, nullptr});
    out.push_back({begin, end, &token});
    done = end;
  }
  if (done < text.size()) out.push_back({done, text.size(), nullptr});
  return out;
}

PreTokenized AddedTokens::extract(std::string_view text, const Normalizer* normalizer) const {
  PreTokenized out;
  const auto add_source = [&](Normalized source) {
    out.sources.push_back(std::move(source));
    return static_cast<uint32_t>(out.sources.size() - 1);
  };
  for (const auto& [begin, end, token] : cut(text, raw_)) {
    Normalized stretch = identity(text.substr(begin, end - begin), begin);
    if (token) {
      out.pieces.push_back({add_source(std::move(stretch)), 0, static_cast<uint32_t>(end - begin), token->id});
      continue;
    }
    const uint32_t source = add_source(normalizer ? normalizer->apply(std::move(stretch)) : std::move(stretch));
    for (const auto& [piece_begin, piece_end, found] : cut(out.sources[source].text, normalized_)) {
      out.pieces.push_back({source, static_cast<uint32_t>(piece_begin), static_cast<uint32_t>(piece_end), found ? found->id : -1});
    }
  }
  return out;
}

}  // namespace lowrank::text
