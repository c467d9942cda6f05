#include "lowrank/text/decoder.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include "lowrank/text/byte_level.h"
#include "lowrank/text/regex.h"

namespace lowrank::text {

namespace {

using Strings = std::vector<std::string>;

std::string replace_all(const std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  size_t done = 0;
  for (size_t at = 0; !from.empty() && (at = text.find(from, done)) != std::string::npos; done = at + from.size()) {
    out.append(text, done, at - done).append(to);
  }
  return out.append(text, done);
}

// English clean-up of the original BERT code, in its order.
std::string clean_up(std::string text) {
  constexpr std::string_view rules[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                           {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                           {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : rules) text = replace_all(text, from, to);
  return text;
}

Strings decode_byte_level(const Strings& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) {
    std::string own;
    for (size_t at = 0; at < token.size();) {
      const auto byte = code_point_to_byte(next_code_point(token, at));
      if (!byte) {  // not of the alphabet: the token stands for itself
        own = token;
        break;
      }
      own += static_cast<char>(*byte);
    }
    bytes += own;
  }
  return {repair_utf8(bytes)};
}

std::optional<char> fallback_byte(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
  uint8_t byte = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  return error == std::errc() && end == token.data() + 5 ? std::optional(static_cast<char>(byte)) : std::nullopt;
}

// Runs of <0xHH> become text; a run that is no UTF-8 becomes as many U+FFFD as it has bytes.
Strings decode_byte_fallback(const Strings& tokens) {
  Strings out;
  std::string run;
  const auto flush = [&] {
    if (!run.empty() && is_utf8(run)) {
      out.push_back(run);
    } else {
      out.insert(out.end(), run.size(), "\uFFFD");
    }
    run.clear();
  };
  for (const std::string& token : tokens) {
    if (const auto byte = fallback_byte(token)) {
      run += *byte;
      continue;
    }
    flush();
    out.push_back(token);
  }
  flush();
  return out;
}

Strings fuse(const Strings& tokens) {
  std::string out;
  for (const std::string& token : tokens) out += token;
  return {out};
}

Decoder make_bpe_decoder(const Component& component) {
  component.allow({"suffix"});
  return [suffix = component.get<std::string>("suffix")](Strings tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = replace_all(tokens[i], suffix, i + 1 == tokens.size() ? "" : " ");
    return tokens;
  };
}

// Up to `start` and `stop` copies of `content` vanish from the ends.
Decoder make_strip(const Component& component) {
  component.allow({"content", "start", "stop"});
  return [content = component.get<std::string>("content"), start = component.get<size_t>("start"),
          stop = component.get<size_t>("stop")](Strings tokens) {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (size_t i = 0; i < start && !content.empty() && rest.starts_with(content); ++i) rest.remove_prefix(content.size());
      for (size_t i = 0; i < stop && !content.empty() && rest.ends_with(content); ++i) rest.remove_suffix(content.size());
      token = std::string(rest);
    }
    return tokens;
  };
}

Decoder make_replace(const Component& component) {
  component.allow({"pattern", "content"});
  return [pattern = Pattern(component.child("pattern")), content = component.get<std::string>("content")](Strings tokens) {
    for (std::string& token : tokens) {
      std::vector<Match> matches;
      pattern.find(token, matches);
      std::string out;
      for (const auto& [begin, end, is_match] : matches) out += is_match ? content : token.substr(begin, end - begin);
      token = out;
    }
    return tokens;
  };
}

Decoder make_sequence(const Component& component) {
  component.allow({"decoders"});
  std::vector<Decoder> parts;
  for (const Component& part : component.children("decoders")) parts.push_back(make_decoder(part));
  return [parts](Strings tokens) {
    for (const Decoder& part : parts) tokens = part(std::move(tokens));
    return tokens;
  };
}

}  // namespace

Decoder word_piece_decoder(std::string prefix, bool cleanup) {
  return [prefix = std::move(prefix), cleanup](Strings tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) tokens[i] = tokens[i].starts_with(prefix) ? tokens[i].substr(prefix.size()) : " " + tokens[i];
      if (cleanup) tokens[i] = clean_up(tokens[i]);
    }
    return tokens;
  };
}

Decoder make_decoder(const Component& component) {
  const std::string type = component.type();
  if (type == "BPEDecoder") return make_bpe_decoder(component);
  if (type == "Strip") return make_strip(component);
  if (type == "Replace") return make_replace(component);
  if (type == "Sequence") return make_sequence(component);
  if (type == "WordPiece") {
    component.allow({"prefix", "cleanup"});
    return word_piece_decoder(component.get<std::string>("prefix"), component.get<bool>("cleanup"));
  }
  if (type == "ByteLevel") {
    component.allow({"add_prefix_space", "trim_offsets", "use_regex"});  // they matter to the other uses of ByteLevel
    return decode_byte_level;
  }
  component.allow({});
  if (type == "ByteFallback") return decode_byte_fallback;
  if (type == "Fuse") return fuse;
  component.unknown_type("decoder", "WordPiece, ByteLevel, BPEDecoder, ByteFallback, Fuse, Strip, Replace, Sequence");
}

}  // namespace lowrank::text
