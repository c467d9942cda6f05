#include "lowrank/text/byte_level.h"

#include <array>

#include "lowrank/text/pre_tokenizer.h"
#include "lowrank/text/regex.h"

namespace lowrank::text {

namespace {

struct Alphabet {
  std::array<char32_t, 256> of_byte{};
  std::array<int16_t, 0x144> to_byte{};
};

constexpr Alphabet kAlphabet = [] {
  Alphabet out;
  out.to_byte.fill(-1);
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool shown = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    const char32_t c = shown ? static_cast<char32_t>(byte) : next++;
    out.of_byte[static_cast<size_t>(byte)] = c;
    out.to_byte[c] = static_cast<int16_t>(byte);
  }
  return out;
}();

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex) : add_prefix_space_(add_prefix_space), use_regex_(use_regex) {}

  void apply(PreTokenized& in) const override {
    if (add_prefix_space_) add_spaces(in);
    if (use_regex_) {
      static const Pattern words(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
      split_pieces(in, Behaviour::isolated, [](std::string_view text, std::vector<Match>& matches) { words.find(text, matches); });
    }
    show_bytes(in);
  }

 private:
  // The space shares the range of the code point that it precedes.
  static void add_spaces(PreTokenized& in) {
    for (Piece& piece : in.pieces) {
      if (piece.added_id >= 0 || in.text(piece).starts_with(' ')) continue;
      const Normalized& old = in.sources[piece.source];
      Normalized spaced;
      spaced.reserve(piece.end - piece.begin + 1);
      spaced.append(U' ', old.origin[piece.begin]);
      spaced.append(old, piece.begin, piece.end);
      piece = {static_cast<uint32_t>(in.sources.size()), 0, static_cast<uint32_t>(spaced.text.size())};
      in.sources.push_back(std::move(spaced));
    }
  }

  static void show_bytes(PreTokenized& in) {
    Normalized shown;
    size_t bytes = 0;
    for (const Piece& piece : in.pieces) bytes += piece.end - piece.begin;
    shown.reserve(bytes + bytes / 2);
    for (Piece& piece : in.pieces) {
      if (piece.added_id >= 0) continue;
      const Normalized& old = in.sources[piece.source];
      const auto begin = static_cast<uint32_t>(shown.text.size());
      for (size_t i = piece.begin; i < piece.end; ++i) {
        shown.append(kAlphabet.of_byte[static_cast<uint8_t>(old.text[i])], old.origin[i]);
      }
      piece = {static_cast<uint32_t>(in.sources.size()), begin, static_cast<uint32_t>(shown.text.size())};
    }
    in.sources.push_back(std::move(shown));
  }

  bool add_prefix_space_, use_regex_;
};

}  // namespace

char32_t byte_to_code_point(uint8_t byte) { return kAlphabet.of_byte[byte]; }

std::optional<uint8_t> code_point_to_byte(char32_t c) {
  if (c >= kAlphabet.to_byte.size() || kAlphabet.to_byte[c] < 0) return std::nullopt;
  return static_cast<uint8_t>(kAlphabet.to_byte[c]);
}

std::unique_ptr<PreTokenizer> make_byte_level_pre_tokenizer(const Component& component) {
  component.allow({"add_prefix_space", "trim_offsets", "use_regex"});  // trim_offsets matters to the post-processor alone
  return std::make_unique<ByteLevel>(component.get<bool>("add_prefix_space"), component.get<bool>("use_regex", true));
}

}  // namespace lowrank::text
