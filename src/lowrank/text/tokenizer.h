// Text to token ids and back: tokenizer.json (WordPiece, byte-level BPE), vocab.txt and CLIP's vocab.json, with ids and offsets identical
// to the `tokenizers` library (0.23). What is supported and what is refused: docs/tokenizers.md.
//
//   const auto tokenizer = Tokenizer::load(model_folder);
//   const Encoding e = tokenizer.encode("Grüße");
//
// Input that is not UTF-8 is read as Python's bytes.decode("utf-8", errors="replace") reads it. Padding sections are
// ignored on purpose: batches are packed. encode and decode may be called from several threads at once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lowrank::text {

/// [begin, end) in Unicode code points of the input text.
struct Offset {
  int32_t begin, end;
  bool operator==(const Offset&) const = default;
};

/// One text (or pair) as the model takes it. All vectors have the same length.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;  // 0 first text, 1 second, where the file says so
  std::vector<Offset> offsets;    // each into its own text; {0, 0} for added special tokens
  std::vector<uint8_t> special;   // 1: added by the post-processor
  bool truncated = false;
  int64_t full_length = 0;  // tokens before truncation, specials included
};

class Tokenizer {
 public:
  /// A model folder (tokenizer.json, else BERT's vocab.txt or CLIP's vocab.json and merges.txt, with tokenizer_config.json beside
  /// them) or one of these files.
  /// Throws Error{io} naming what is in the folder when neither is; Error{file_format} for a broken file;
  /// Error{unsupported} naming the component and its place for one that is not built.
  static Tokenizer load(const std::filesystem::path& folder_or_file);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  Encoding encode(std::string_view text) const;
  Encoding encode(std::string_view first, std::string_view second) const;

  /// Truncation on the right, the longer text of a pair first, to `tokens` with specials; 0 switches truncation off.
  /// Takes the place of the file's own. Throws Error{invalid_argument} when not even the special tokens fit.
  void set_max_length(int64_t tokens);
  /// 0: none.
  int64_t max_length() const;

  /// Distinct tokens, added ones included.
  int32_t vocab_size() const;
  std::optional<int32_t> token_to_id(std::string_view token) const;
  /// Throws Error{invalid_argument} for an id that no token has.
  std::string id_to_token(int32_t id) const;
  /// From the file's padding section, else tokenizer_config.json or special_tokens_map.json, else [PAD] or <pad>.
  std::optional<int32_t> pad_id() const;

  /// Unknown ids are left out, as the reference does.
  std::string decode(const std::vector<int32_t>& ids, bool skip_special = true) const;

  struct State;  // its parts: tokenizer_state.h

 private:
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lowrank::text
