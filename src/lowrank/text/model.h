// The "model" of tokenizer.json: WordPiece and BPE. Source: tokenizers 0.23, src/models/.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/text/component.h"
#include "lowrank/text/vocabulary.h"

namespace lowrank::text {

/// Bytes [begin, end) of a piece.
struct ModelToken {
  int32_t id;
  uint32_t begin, end;
};

class Model {
 public:
  explicit Model(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  virtual ~Model() = default;

  /// Appends the tokens of one piece (valid UTF-8, not empty).
  virtual void tokenize(std::string_view piece, std::vector<ModelToken>& out) const = 0;
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
};

/// Throws Error{unsupported} naming the component and its place.
std::unique_ptr<Model> make_model(const Component& component);
std::unique_ptr<Model> make_bpe(const Component& component);

struct WordPieceOptions {
  std::string unk_token = "[UNK]", continuing_subword_prefix = "##";
  size_t max_input_chars_per_word = 100;
};
/// Error{file_format} naming `where` when the vocabulary lacks unk_token.
std::unique_ptr<Model> make_word_piece(Vocabulary vocabulary, const WordPieceOptions& options, const std::string& where);

}  // namespace lowrank::text
