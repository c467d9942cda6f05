// What a Tokenizer is made of. For tokenizer*.cpp only.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "lowrank/text/added_tokens.h"
#include "lowrank/text/decoder.h"
#include "lowrank/text/model.h"
#include "lowrank/text/normalizer.h"
#include "lowrank/text/post_processor.h"
#include "lowrank/text/pre_tokenizer.h"
#include "lowrank/text/tokenizer.h"

namespace lowrank::text {

/// White space at the ends of a token's text, in code points ('Ġ' counts): what trim_offsets leaves out.
struct Margins {
  int32_t leading = 0, trailing = 0;
};
Margins margins_of(std::string_view token);

struct Tokenizer::State {
  std::unique_ptr<Normalizer> normalizer;       // nullptr: none
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // nullptr: none
  std::unique_ptr<Model> model;
  PostProcessor post_processor;
  Decoder decoder;  // empty: tokens joined by spaces
  AddedTokens added;
  std::vector<Margins> margins;  // by id of the model; empty unless offsets are trimmed
  int64_t max_length = 0;
  bool truncate_left = false;
  std::optional<int32_t> pad_id;

  void set_margins();
};

/// The whole of tokenizer.json.
std::unique_ptr<Tokenizer::State> load_tokenizer_json(const std::filesystem::path& path);
/// The same once parsed; `path` for messages, and for settings beside it.
std::unique_ptr<Tokenizer::State> make_state(const Json& json, const std::filesystem::path& path);
/// CLIP's classic files: vocab.json with merges.txt beside it, and tokenizer_config.json and special_tokens_map.json if they are there.
std::unique_ptr<Tokenizer::State> load_clip_files(const std::filesystem::path& vocab_json);
/// BERT's classic files: vocab.txt, one token a line, with the settings of tokenizer_config.json beside it if there is
/// one.
std::unique_ptr<Tokenizer::State> load_vocab_txt(const std::filesystem::path& path);

}  // namespace lowrank::text
