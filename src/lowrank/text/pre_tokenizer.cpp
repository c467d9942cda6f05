#include "lowrank/text/pre_tokenizer.h"

#include <array>

#include "lowrank/text/regex.h"
#include "lowrank/text/unicode.h"

namespace lowrank::text {

namespace {

// Words and single punctuation marks; white space vanishes.
class BertPreTokenizer : public PreTokenizer {
 public:
  void apply(PreTokenized& in) const override {
    split_pieces(in, Behaviour::removed, [](std::string_view text, std::vector<Match>& matches) {
      uint32_t begin = 0;
      for (size_t at = 0; at < text.size();) {
        const auto start = static_cast<uint32_t>(at);
        const char32_t c = next_code_point(text, at);
        const auto end = static_cast<uint32_t>(at);
        const bool space = is_whitespace(c);
        if (!space && !is_punctuation(c)) continue;
        if (begin < start) matches.push_back({begin, start, false});
        matches.push_back({start, end, space});
        begin = end;
      }
      if (begin < text.size()) matches.push_back({begin, static_cast<uint32_t>(text.size()), false});
    });
  }
};

class WhitespaceSplit : public PreTokenizer {
 public:
  void apply(PreTokenized& in) const override { split_at(in, Behaviour::removed, is_whitespace); }
};

// \w+|[^\w\s]+ with the classes of Rust's regex.
class Whitespace : public PreTokenizer {
 public:
  void apply(PreTokenized& in) const override {
    split_pieces(in, Behaviour::removed, [](std::string_view text, std::vector<Match>& matches) {
      enum class Kind { space, word, other };
      const auto kind_of = [](char32_t c) { return is_word(c) ? Kind::word : is_whitespace(c) ? Kind::space : Kind::other; };
      Kind kind = Kind::space;
      uint32_t begin = 0;
      for (size_t at = 0; at < text.size();) {
        const auto start = static_cast<uint32_t>(at);
        const Kind next = kind_of(next_code_point(text, at));
        if (next == kind) continue;
        if (begin < start) matches.push_back({begin, start, kind == Kind::space});
        begin = start;
        kind = next;
      }
      matches.push_back({begin, static_cast<uint32_t>(text.size()), kind == Kind::space});
    });
  }
};

class Digits : public PreTokenizer {
 public:
  explicit Digits(bool individual) : behaviour_(individual ? Behaviour::isolated : Behaviour::contiguous) {}
  void apply(PreTokenized& in) const override { split_at(in, behaviour_, is_numeric); }

 private:
  Behaviour behaviour_;
};

class Punctuation : public PreTokenizer {
 public:
  explicit Punctuation(Behaviour behaviour) : behaviour_(behaviour) {}
  void apply(PreTokenized& in) const override { split_at(in, behaviour_, is_punctuation); }

 private:
  Behaviour behaviour_;
};

class Split : public PreTokenizer {
 public:
  Split(Pattern pattern, Behaviour behaviour, bool invert) : pattern_(std::move(pattern)), behaviour_(behaviour), invert_(invert) {}
  void apply(PreTokenized& in) const override {
    split_pieces(in, behaviour_, [&](std::string_view text, std::vector<Match>& matches) {
      pattern_.find(text, matches);
      for (Match& match : matches) match.is_match ^= invert_;
    });
  }

 private:
  Pattern pattern_;
  Behaviour behaviour_;
  bool invert_;
};

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void apply(PreTokenized& in) const override {
    for (const auto& part : parts_) part->apply(in);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

Behaviour behaviour_of(const Component& component) {
  const auto name = component.get<std::string>("behavior", "Isolated");
  constexpr std::array names = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
  for (size_t i = 0; i < names.size(); ++i) {
    if (name == names[i]) return static_cast<Behaviour>(i);
  }
  component.unsupported(fmt::format("behavior '{}'", name));
}

std::unique_ptr<PreTokenizer> make_sequence(const Component& component) {
  component.allow({"pretokenizers"});
  std::vector<std::unique_ptr<PreTokenizer>> parts;
  for (const Component& part : component.children("pretokenizers")) parts.push_back(make_pre_tokenizer(part));
  return std::make_unique<Sequence>(std::move(parts));
}

}  // namespace

std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer() { return std::make_unique<BertPreTokenizer>(); }

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Component& component) {
  const std::string type = component.type();
  if (type == "ByteLevel") return make_byte_level_pre_tokenizer(component);
  if (type == "Sequence") return make_sequence(component);
  if (type == "Split") {
    component.allow({"pattern", "behavior", "invert"});
    return std::make_unique<Split>(Pattern(component.child("pattern")), behaviour_of(component), component.get<bool>("invert"));
  }
  if (type == "Digits") {
    component.allow({"individual_digits"});
    return std::make_unique<Digits>(component.get<bool>("individual_digits"));
  }
  if (type == "Punctuation") {
    component.allow({"behavior"});
    return std::make_unique<Punctuation>(behaviour_of(component));
  }
  component.allow({});
  if (type == "BertPreTokenizer") return make_bert_pre_tokenizer();
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplit>();
  component.unknown_type("pre-tokenizer", "BertPreTokenizer, ByteLevel, Split, Whitespace, WhitespaceSplit, Digits, Punctuation, Sequence");
}

}  // namespace lowrank::text
