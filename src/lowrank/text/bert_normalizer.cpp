#include <algorithm>
#include <utility>

#include "lowrank/text/normalizer.h"
#include "lowrank/text/unicode.h"

namespace lowrank::text {

namespace {

class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(const BertOptions& options)
      : options_(options), strip_accents_(options.strip_accents.value_or(options.lowercase)) {}

  Normalized apply(Normalized in) const override {
    if (is_ascii(in.text)) return apply_ascii(std::move(in));
    if (options_.clean_text || options_.handle_chinese_chars) in = clean(in);
    if (strip_accents_) in = normalize_unicode(in, UnicodeForm::nfd);
    if (strip_accents_ || options_.lowercase) in = strip_and_lower(in);
    return in;
  }

 private:
  // In place: accents and ideographs are absent, and every mapping keeps its one byte.
  Normalized apply_ascii(Normalized in) const {
    size_t kept = 0;
    for (size_t i = 0; i < in.text.size(); ++i) {
      char c = in.text[i];
      if (options_.clean_text) {
        if (c == '\t' || c == '\n' || c == '\r') c = ' ';
        if (c < ' ' || c == 0x7F) continue;
      }
      if (options_.lowercase && c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
      in.text[kept] = c;
      in.origin[kept++] = in.origin[i];
    }
    in.text.resize(kept);
    in.origin.resize(kept);
    return in;
  }

  Normalized clean(const Normalized& in) const {
    return map_code_points(in, [&](char32_t c, auto emit) {
      if (options_.clean_text) {
        if (is_bert_control(c)) return;
        if (is_whitespace(c)) c = ' ';
      }
      const bool surrounded = options_.handle_chinese_chars && is_bert_chinese(c);
      if (surrounded) emit(U' ');
      emit(c);
      if (surrounded) emit(U' ');
    });
  }

  Normalized strip_and_lower(const Normalized& in) const {
    return map_code_points(in, [&](char32_t c, auto emit) {
      if (strip_accents_ && is_nonspacing_mark(c)) return;
      char32_t lower[2] = {c, 0};
      const size_t count = options_.lowercase ? to_lower(c, lower) : 1;
      for (size_t i = 0; i < count; ++i) emit(lower[i]);
    });
  }

  BertOptions options_;
  bool strip_accents_;
};

}  // namespace

std::unique_ptr<Normalizer> make_bert_normalizer(const BertOptions& options) { return std::make_unique<BertNormalizer>(options); }

}  // namespace lowrank::text
