#include "lowrank/text/normalizer.h"

#include <utility>

#include "lowrank/text/regex.h"
#include "lowrank/text/unicode.h"

namespace lowrank::text {

namespace {

class Form : public Normalizer {
 public:
  explicit Form(UnicodeForm form) : form_(form) {}
  Normalized apply(Normalized in) const override { return is_ascii(in.text) ? std::move(in) : normalize_unicode(in, form_); }

 private:
  UnicodeForm form_;
};

class Lowercase : public Normalizer {
 public:
  Normalized apply(Normalized in) const override {
    return map_code_points(in, [](char32_t c, auto emit) {
      char32_t lower[2];
      const size_t count = to_lower(c, lower);
      for (size_t i = 0; i < count; ++i) emit(lower[i]);
    });
  }
};

class StripAccents : public Normalizer {
 public:
  Normalized apply(Normalized in) const override {
    return map_code_points(in, [](char32_t c, auto emit) {
      if (!is_combining_mark(c)) emit(c);
    });
  }
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  Normalized apply(Normalized in) const override {
    size_t begin = 0, end = in.text.size();
    for (size_t at = 0; left_ && at < end && is_whitespace(next_code_point(in.text, at));) begin = at;
    while (right_ && end > begin) {
      const size_t last = previous_boundary(in.text, end);
      size_t at = last;
      if (!is_whitespace(next_code_point(in.text, at))) break;
      end = last;
    }
    Normalized out;
    out.append(in, begin, end);
    return out;
  }

 private:
  bool left_, right_;
};

// What is inserted shares the range of the last byte that it replaces.
class Replace : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  Normalized apply(Normalized in) const override {
    Normalized out;
    out.reserve(in.text.size() + content_.size());
    std::vector<Match> matches;
    pattern_.find(in.text, matches);
    for (const auto& [begin, end, is_match] : matches) {
      if (is_match) {
        out.append(content_, end > 0 ? in.origin[end - 1] : Span{0, 0});
      } else {
        out.append(in, begin, end);
      }
    }
    return out;
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string content) : content_(std::move(content)) {}
  Normalized apply(Normalized in) const override {
    Normalized out;
    if (in.text.empty()) return out;
    out.append(content_, in.origin[0]);
    out.append(in, 0, in.text.size());
    return out;
  }

 private:
  std::string content_;
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  Normalized apply(Normalized in) const override {
    for (const auto& part : parts_) in = part->apply(std::move(in));
    return in;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

std::unique_ptr<Normalizer> make_bert(const Component& component) {
  component.allow({"clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
  BertOptions options;
  options.clean_text = component.get<bool>("clean_text");
  options.handle_chinese_chars = component.get<bool>("handle_chinese_chars");
  if (component.has("strip_accents")) options.strip_accents = component.get<bool>("strip_accents");
  options.lowercase = component.get<bool>("lowercase");
  return make_bert_normalizer(options);
}

std::unique_ptr<Normalizer> make_sequence(const Component& component) {
  component.allow({"normalizers"});
  std::vector<std::unique_ptr<Normalizer>> parts;
  for (const Component& part : component.children("normalizers")) parts.push_back(make_normalizer(part));
  return std::make_unique<Sequence>(std::move(parts));
}

std::unique_ptr<Normalizer> make_replace(const Component& component) {
  component.allow({"pattern", "content"});
  Pattern pattern(component.child("pattern"));
  if (pattern.matches_empty()) component.unsupported("an expression that matches the empty string");
  return std::make_unique<Replace>(std::move(pattern), component.get<std::string>("content"));
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const Component& component) {
  const std::string type = component.type();
  if (type == "BertNormalizer") return make_bert(component);
  if (type == "Sequence") return make_sequence(component);
  if (type == "Replace") return make_replace(component);
  if (type == "Strip") {
    component.allow({"strip_left", "strip_right"});
    return std::make_unique<Strip>(component.get<bool>("strip_left"), component.get<bool>("strip_right"));
  }
  if (type == "Prepend") {
    component.allow({"prepend"});
    return std::make_unique<Prepend>(component.get<std::string>("prepend"));
  }
  component.allow({});
  if (type == "NFC") return std::make_unique<Form>(UnicodeForm::nfc);
  if (type == "NFD") return std::make_unique<Form>(UnicodeForm::nfd);
  if (type == "NFKC") return std::make_unique<Form>(UnicodeForm::nfkc);
  if (type == "NFKD") return std::make_unique<Form>(UnicodeForm::nfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  component.unknown_type("normalizer", "BertNormalizer, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Replace, Prepend, Sequence");
}

}  // namespace lowrank::text
