// The "normalizer" of tokenizer.json: BertNormalizer, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Replace,
// Prepend, Sequence. Source: tokenizers 0.23, src/normalizers/.
#pragma once

#include <memory>
#include <optional>

#include "lowrank/text/component.h"
#include "lowrank/text/normalized.h"

namespace lowrank::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual Normalized apply(Normalized in) const = 0;
};

/// Throws Error{unsupported} naming the component and its place.
std::unique_ptr<Normalizer> make_normalizer(const Component& component);

/// BERT's basic cleaning. strip_accents unset: as lowercase.
struct BertOptions {
  bool clean_text = true, handle_chinese_chars = true;
  std::optional<bool> strip_accents;
  bool lowercase = true;
};
std::unique_ptr<Normalizer> make_bert_normalizer(const BertOptions& options);

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };
/// Unicode normalisation form with the reference's alignments (unicode-normalization-alignments 0.1).
Normalized normalize_unicode(const Normalized& in, UnicodeForm form);

}  // namespace lowrank::text
