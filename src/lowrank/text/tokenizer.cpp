#include "lowrank/text/tokenizer.h"

#include <algorithm>
#include <span>

#include "lowrank/base/error.h"
#include "lowrank/text/byte_level.h"
#include "lowrank/text/tokenizer_state.h"
#include "lowrank/text/unicode.h"

namespace lowrank::text {

namespace {

using State = Tokenizer::State;

struct Token {
  int32_t id;
  Offset offset;  // in code points
  Margins margins;
};

struct Tokens {
  std::vector<Token> list;
  int64_t full = 0;  // before truncation
};

// Byte ranges of a text to ranges of code points.
class CodePointIndex {
 public:
  explicit CodePointIndex(std::string_view text) {
    if (is_ascii(text)) return;
    index_.resize(text.size());
    uint32_t count = 0;
    for (size_t at = 0; at < text.size(); ++count) {
      for (const size_t end = at + utf8_length(text[at]); at < end; ++at) index_[at] = count;
    }
  }
  Offset convert(Span span) const {
    if (!index_.empty() && span.begin < index_.size()) {
      span = {index_[span.begin], span.end < index_.size() ? index_[span.end] : index_[span.end - 1] + 1};
    }
    return {static_cast<int32_t>(span.begin), static_cast<int32_t>(span.end)};
  }

 private:
  std::vector<uint32_t> index_;  // by byte; empty for ASCII
};

Tokens tokenize(const State& state, std::string_view text) {
  const std::string repaired = is_utf8(text) ? std::string() : repair_utf8(text);
  if (!repaired.empty()) text = repaired;
  check(text.size() < UINT32_MAX / 4, ErrorKind::unsupported, "Tokenizer::encode", "a text below 1 GiB expected, got {} bytes",
        text.size());
  PreTokenized pieces = state.added.extract(text, state.normalizer.get());
  if (state.pre_tokenizer) state.pre_tokenizer->apply(pieces);
  const CodePointIndex index(text);
  Tokens out;
  std::vector<ModelToken> found;
  const bool trims = !state.post_processor.trims.empty();
  for (const Piece& piece : pieces.pieces) {
    const Normalized& source = pieces.sources[piece.source];
    if (piece.added_id >= 0) {
      const Margins margins = trims ? margins_of(pieces.text(piece)) : Margins{};
      out.list.push_back({piece.added_id, index.convert(source.original(piece.begin, piece.end)), margins});
      continue;
    }
    found.clear();
    state.model->tokenize(pieces.text(piece), found);
    for (const auto& [id, begin, end] : found) {
      const Margins margins = trims ? state.margins[static_cast<size_t>(id)] : Margins{};
      out.list.push_back({id, index.convert(source.original(piece.begin + begin, piece.begin + end)), margins});
    }
  }
  out.full = static_cast<int64_t>(out.list.size());
  return out;
}

void keep(Tokens& tokens, int64_t count, bool last_ones) {
  const auto surplus = std::max<int64_t>(0, tokens.full - count);
  if (last_ones) {
    tokens.list.erase(tokens.list.begin(), tokens.list.begin() + surplus);
  } else {
    tokens.list.resize(static_cast<size_t>(tokens.full - surplus));
  }
}

// Longest first: the shorter text is kept whole while it fits; else both get half, the longer one the odd token.
void truncate(const State& state, std::span<Tokens> texts) {
  if (state.max_length == 0) return;
  const int64_t room = state.max_length - state.post_processor.added(texts.size() == 2);
  check(room >= 0, ErrorKind::invalid_argument, "Tokenizer::encode", "a maximal length of {} tokens does not hold the {} special ones",
        state.max_length, state.post_processor.added(texts.size() == 2));
  if (texts.size() == 1) return keep(texts[0], room, state.truncate_left);
  const bool swapped = texts[0].full > texts[1].full;
  int64_t shorter = std::min(texts[0].full, texts[1].full);
  if (texts[0].full + texts[1].full <= room) return;
  int64_t longer = shorter > room ? shorter : std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = shorter + room % 2;
  }
  keep(texts[0], swapped ? longer : shorter, state.truncate_left);
  keep(texts[1], swapped ? shorter : longer, state.truncate_left);
}

// A single leading space of the first token stays when it was added by add_prefix_space.
void trim_offsets(std::vector<Token>& tokens, bool add_prefix_space) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    auto& [begin, end] = tokens[i].offset;
    auto [leading, trailing] = tokens[i].margins;
    if ((i == 0 || begin == 0) && add_prefix_space && leading == 1) leading = 0;
    begin = std::min(begin + leading, end);
    if (end >= trailing) end = std::max(end - trailing, begin);
  }
}

Encoding assemble(const State& state, std::span<Tokens> texts) {
  truncate(state, texts);
  for (Tokens& tokens : texts) {
    for (const bool add_prefix_space : state.post_processor.trims) trim_offsets(tokens.list, add_prefix_space);
  }
  Encoding out;
  const auto push = [&](int32_t id, int32_t type_id, Offset offset, uint8_t special) {
    out.ids.push_back(id);
    out.type_ids.push_back(type_id);
    out.offsets.push_back(offset);
    out.special.push_back(special);
  };
  for (const TemplatePart& part : texts.size() == 2 ? state.post_processor.pair : state.post_processor.single) {
    for (const int32_t id : part.ids) push(id, part.type_id, {0, 0}, 1);
    out.full_length += static_cast<int64_t>(part.ids.size());
    if (part.text < 0) continue;
    const Tokens& tokens = texts[static_cast<size_t>(part.text)];
    for (const Token& token : tokens.list) push(token.id, part.type_id, token.offset, 0);
    out.full_length += tokens.full;
  }
  out.truncated = out.full_length > static_cast<int64_t>(out.ids.size());
  return out;
}

}  // namespace

Margins margins_of(std::string_view token) {
  const auto is_space = [](char32_t c) { return c == kByteLevelSpace || is_whitespace(c); };
  Margins out;
  for (size_t at = 0; at < token.size() && is_space(next_code_point(token, at));) ++out.leading;
  for (size_t end = token.size(); end > 0; ++out.trailing) {
    end = previous_boundary(token, end);
    size_t at = end;
    if (!is_space(next_code_point(token, at))) break;
  }
  return out;
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Encoding Tokenizer::encode(std::string_view text) const {
  Tokens tokens = tokenize(*state_, text);
  return assemble(*state_, {&tokens, 1});
}

Encoding Tokenizer::encode(std::string_view first, std::string_view second) const {
  Tokens tokens[2] = {tokenize(*state_, first), tokenize(*state_, second)};
  return assemble(*state_, tokens);
}

void Tokenizer::set_max_length(int64_t tokens) {
  const int64_t added = state_->post_processor.added(false);
  check(tokens == 0 || tokens >= std::max<int64_t>(added, 1), ErrorKind::invalid_argument, "Tokenizer::set_max_length",
        "0 or at least {} tokens expected (the special ones), got {}", std::max<int64_t>(added, 1), tokens);
  state_->max_length = tokens;
  state_->truncate_left = false;
}

int64_t Tokenizer::max_length() const { return state_->max_length; }

int32_t Tokenizer::vocab_size() const {
  const auto& added = state_->added.all();
  const auto is_new = [&](const AddedToken& token) { return state_->model->vocabulary().find(token.content) < 0; };
  return state_->model->vocabulary().size() + static_cast<int32_t>(std::count_if(added.begin(), added.end(), is_new));
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  if (const AddedToken* added = state_->added.find(token)) return added->id;
  const int32_t id = state_->model->vocabulary().find(token);
  return id >= 0 ? std::optional(id) : std::nullopt;
}

std::string Tokenizer::id_to_token(int32_t id) const {
  if (const AddedToken* added = state_->added.find(id)) return added->shown;
  const std::string* token = state_->model->vocabulary().token(id);
  check(token != nullptr, ErrorKind::invalid_argument, "Tokenizer::id_to_token", "no token has the id {}", id);
  return *token;
}

std::optional<int32_t> Tokenizer::pad_id() const { return state_->pad_id; }

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool skip_special) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    const AddedToken* added = state_->added.find(id);
    const std::string* token = added ? &added->shown : state_->model->vocabulary().token(id);
    if (token && !(skip_special && state_->added.is_special(*token))) tokens.push_back(*token);
  }
  std::string out;
  if (state_->decoder) {
    for (const std::string& part : state_->decoder(std::move(tokens))) out += part;
    return out;
  }
  for (size_t i = 0; i < tokens.size(); ++i) out += (i > 0 ? " " : "") + tokens[i];
  return out;
}

}  // namespace lowrank::text
