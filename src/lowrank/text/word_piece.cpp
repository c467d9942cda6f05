#include <algorithm>

#include "lowrank/text/model.h"
#include "lowrank/text/utf8.h"

namespace lowrank::text {

namespace {

// Greedy longest match from the left; a piece with a stretch that nothing matches is unknown as a whole.
class WordPiece : public Model {
 public:
  WordPiece(Vocabulary vocabulary, const WordPieceOptions& options, const std::string& where)
      : Model(std::move(vocabulary)), max_code_points_(options.max_input_chars_per_word) {
    unk_id_ = this->vocabulary().find(options.unk_token);
    check(unk_id_ >= 0, ErrorKind::file_format, where, "the vocabulary has no unknown token '{}'", options.unk_token);
    std::vector<std::pair<std::string_view, int32_t>> tails;
    for (int32_t id = 0; id < this->vocabulary().end_id(); ++id) {
      const std::string* token = this->vocabulary().token(id);
      if (!token || !token->starts_with(options.continuing_subword_prefix)) continue;
      tails.emplace_back(std::string_view(*token).substr(options.continuing_subword_prefix.size()), id);
    }
    tails_ = StringTable(tails);
  }

  void tokenize(std::string_view piece, std::vector<ModelToken>& out) const override {
    const size_t before = out.size();
    const auto size = static_cast<uint32_t>(piece.size());
    size_t begin = piece.size() > max_code_points_ && count_code_points(piece) > max_code_points_ ? piece.size() + 1 : 0;
    while (begin < piece.size()) {
      const size_t longest = begin == 0 ? vocabulary().longest() : tails_.longest();
      size_t end = std::min(piece.size(), begin + longest);
      while (end < piece.size() && (static_cast<uint8_t>(piece[end]) & 0xC0) == 0x80) --end;
      int32_t id = -1;
      for (; end > begin; end = previous_boundary(piece, end)) {
        const std::string_view part = piece.substr(begin, end - begin);
        id = begin == 0 ? vocabulary().find(part) : tails_.find(part);
        if (id >= 0) break;
      }
      if (id < 0) break;
      out.push_back({id, static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
      begin = end;
    }
    if (begin == piece.size()) return;
    out.resize(before);
    out.push_back({unk_id_, 0, size});
  }

 private:
  StringTable tails_;  // what follows the prefix
  int32_t unk_id_ = -1;
  size_t max_code_points_;
};

}  // namespace

std::unique_ptr<Model> make_word_piece(Vocabulary vocabulary, const WordPieceOptions& options, const std::string& where) {
  return std::make_unique<WordPiece>(std::move(vocabulary), options, where);
}

std::unique_ptr<Model> make_model(const Component& component) {
  const std::string type = component.type();
  if (type == "BPE") return make_bpe(component);
  if (type != "WordPiece") component.unknown_type("model", "WordPiece, BPE");
  component.allow({"vocab", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word"});
  WordPieceOptions options;
  options.unk_token = component.get<std::string>("unk_token");
  options.continuing_subword_prefix = component.get<std::string>("continuing_subword_prefix");
  options.max_input_chars_per_word = component.get<size_t>("max_input_chars_per_word");
  return make_word_piece(Vocabulary(component), options, component.path());
}

}  // namespace lowrank::text
