// CLIP's classic files: vocab.json and merges.txt, with the settings beside them, as the tokenizer.json that says the same.
// Source: transformers 5.23, models/clip/tokenization_clip.py; which flags a special token gets, tokenization_utils_tokenizers.py.
#include <algorithm>

#include "lowrank/base/file.h"
#include "lowrank/base/json.h"
#include "lowrank/text/tokenizer_state.h"
#include "lowrank/text/unicode.h"
#include "lowrank/text/utf8.h"

namespace lowrank::text {

namespace {

namespace fs = std::filesystem;

constexpr const char* kWords = R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";
constexpr const char* kEndOfWord = "</w>";

Json read_if_there(const fs::path& file) {
  if (!fs::exists(file)) return Json::object();
  Json value = read_json(file);
  check(value.is_object(), ErrorKind::file_format, file.string(), "an object expected, got {}", value.type_name());
  return value;
}

/// "<|endoftext|>" or {"content": …, "normalized": true, …}, as an entry of added_tokens without its id.
Json token_entry(const Json& value, const std::string& where) {
  Json entry = {{"content", ""}, {"single_word", false}, {"lstrip", false}, {"rstrip", false}, {"normalized", false}};
  if (value.is_object()) {
    for (auto& [key, flag] : entry.items()) {
      if (value.contains(key)) flag = value[key];
    }
  } else {
    entry["content"] = value;
  }
  check(entry["content"].is_string() && !entry["content"].get<std::string>().empty(), ErrorKind::file_format, where,
        "a special token expected, got {}", value.dump());
  entry["special"] = true;
  return entry;
}

struct SpecialTokens {
  std::string bos, eos, unk;
  Json entries = Json::array();
};

/// The roles in their order; of different entries for one text the last counts. Tokens of added_tokens_decoder come before all roles.
SpecialTokens special_tokens(const fs::path& folder, const Json& vocabulary, const std::string& where) {
  const std::string config_path = (folder / "tokenizer_config.json").string();
  const Json config = read_if_there(config_path);
  const bool decoder = config.contains("added_tokens_decoder");
  const Json map = decoder ? Json::object() : read_if_there(folder / "special_tokens_map.json");
  std::vector<Json> entries;
  if (decoder) {
    for (const auto& [id, token] : config["added_tokens_decoder"].items()) entries.push_back(token_entry(token, config_path));
  }
  const std::vector<Json> fixed = entries;
  SpecialTokens out;
  const auto role = [&](const char* key, const char* fallback) {
    const Json value = map.contains(key) ? map[key] : config.contains(key) && !config[key].is_null() ? config[key] : Json(fallback);
    const Json entry = token_entry(value, config_path);
    const auto same_text = [&](const Json& other) { return other["content"] == entry["content"]; };
    const bool known = std::ranges::any_of(fixed, same_text) || std::ranges::find(entries, entry) != entries.end();
    if (!known) entries.push_back(entry);
    return entry["content"].get<std::string>();
  };
  out.bos = role("bos_token", "<|startoftext|>");
  out.eos = role("eos_token", "<|endoftext|>");
  out.unk = role("unk_token", "<|endoftext|>");
  role("pad_token", "<|endoftext|>");
  for (size_t i = 0; i < entries.size(); ++i) {
    const Json& text = entries[i]["content"];
    if (std::any_of(entries.begin() + static_cast<std::ptrdiff_t>(i) + 1, entries.end(),
                    [&](const Json& e) { return e["content"] == text; }))
      continue;
    const auto id = vocabulary.find(text.get<std::string>());
    check(id != vocabulary.end(), ErrorKind::file_format, where, "the vocabulary has no '{}'", text.get<std::string>());
    entries[i]["id"] = *id;
    out.entries.push_back(entries[i]);
  }
  return out;
}

/// "a b" a line, after a first line "#version: 0.2".
Json read_merges(const fs::path& path) {
  const std::string text = read_file(path);
  check(is_utf8(text), ErrorKind::file_format, path.string(), "UTF-8 expected, got other bytes");
  Json merges = Json::array();
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    const bool version = begin == 0 && line.starts_with("#version");
    if (!line.empty() && !version) merges.push_back(std::move(line));
    begin = end + 1;
  }
  return merges;
}

/// Ends of words as spaces, then without white space at either end as Python's str.strip() sees it.
std::string words_of(std::string text) {
  const std::string_view end_of_word = kEndOfWord;
  for (size_t at = 0; (at = text.find(end_of_word, at)) != std::string::npos;) text.replace(at, end_of_word.size(), " ");
  const auto is_space = [&](size_t at) {
    const char32_t c = next_code_point(text, at);
    return is_whitespace(c) || (c >= 0x1C && c <= 0x1F);
  };
  size_t begin = 0, end = text.size();
  while (end > begin && is_space(previous_boundary(text, end))) end = previous_boundary(text, end);
  while (begin < end && is_space(begin)) begin += utf8_length(text[begin]);
  return text.substr(begin, end - begin);
}

void check_is_clip(const fs::path& folder, const Json& vocabulary, const std::string& where) {
  const Json config = read_if_there(folder / "tokenizer_config.json");
  const auto type = json_get<std::string>(config, "tokenizer_class", "", (folder / "tokenizer_config.json").string());
  const bool is_clip = type.empty() ? vocabulary.contains("<|startoftext|>") : type.starts_with("CLIPTokenizer");
  if (is_clip) return;
  fail(ErrorKind::unsupported, where, fmt::format("expected CLIP's vocabulary, got that of {}", type.empty() ? "another tokenizer" : type),
       "save it with transformers' AutoTokenizer, which writes a tokenizer.json");
}

}  // namespace

std::unique_ptr<Tokenizer::State> load_clip_files(const fs::path& vocab_json) {
  const std::string where = vocab_json.string();
  const fs::path folder = vocab_json.parent_path();
  const Json vocabulary = read_json(vocab_json);
  check(vocabulary.is_object(), ErrorKind::file_format, where, "an object of tokens and ids expected, got {}", vocabulary.type_name());
  check_is_clip(folder, vocabulary, where);
  const SpecialTokens special = special_tokens(folder, vocabulary, where);
  const auto with_id = [&](const std::string& token) { return Json::array({token, vocabulary[token]}); };
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Json split = {{"type", "Split"}, {"pattern", {{"Regex", kWords}}}, {"behavior", "Removed"}, {"invert", true}};
  const Json spaces = {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}};
  const Json file = {{"version", "1.0"},
                     {"added_tokens", special.entries},
                     {"normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, spaces, {{"type", "Lowercase"}}}}}},
                     {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
                     {"post_processor",
                      {{"type", "RobertaProcessing"},
                       {"sep", with_id(special.eos)},
                       {"cls", with_id(special.bos)},
                       {"trim_offsets", false},
                       {"add_prefix_space", false}}},
                     {"decoder", byte_level},
                     {"model",
                      {{"type", "BPE"},
                       {"unk_token", special.unk},
                       {"end_of_word_suffix", kEndOfWord},
                       {"vocab", vocabulary},
                       {"merges", read_merges(folder / "merges.txt")}}}};
  auto state = make_state(file, vocab_json);
  state->decoder = [bytes = std::move(state->decoder)](std::vector<std::string> tokens) {
    std::string text;
    for (const std::string& part : bytes(std::move(tokens))) text += part;
    return std::vector<std::string>{words_of(text)};
  };
  return state;
}

}  // namespace lowrank::text
