// The "pre_tokenizer" of tokenizer.json: BertPreTokenizer, ByteLevel, Split, Whitespace, WhitespaceSplit, Digits,
// Punctuation, Sequence. Source: tokenizers 0.23, src/pre_tokenizers/.
#pragma once

#include <memory>

#include "lowrank/text/component.h"
#include "lowrank/text/pre_tokenized.h"

namespace lowrank::text {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(PreTokenized& in) const = 0;
};

/// Throws Error{unsupported} naming the component and its place.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Component& component);
std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer();
std::unique_ptr<PreTokenizer> make_byte_level_pre_tokenizer(const Component& component);

}  // namespace lowrank::text
