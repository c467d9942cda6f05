#include <algorithm>

#include "lowrank/base/file.h"
#include "lowrank/base/json.h"
#include "lowrank/text/tokenizer_state.h"
#include "lowrank/text/utf8.h"

namespace lowrank::text {

namespace {

namespace fs = std::filesystem;

Json read_beside(const fs::path& path, const char* name) {
  const fs::path file = path.parent_path() / name;
  if (!fs::exists(file)) return Json::object();
  Json value = parse_json(read_file(file), file.string());
  check(value.is_object(), ErrorKind::file_format, file.string(), "an object expected, got {}", value.type_name());
  return value;
}

// "[PAD]", or {"content": "[PAD]", …} as newer files have it.
std::optional<std::string> token_setting(const Json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) return (*found)["content"].get<std::string>();
  return std::nullopt;
}

std::optional<int32_t> find_pad(const Tokenizer::State& state, const fs::path& path) {
  std::vector<std::string> names;
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    if (const auto name = token_setting(read_beside(path, file), "pad_token")) names.push_back(*name);
  }
  names.insert(names.end(), {"[PAD]", "<pad>"});
  for (const std::string& name : names) {
    const AddedToken* added = state.added.find(name);
    const int32_t id = added ? added->id : state.model->vocabulary().find(name);
    if (id >= 0) return id;
  }
  return std::nullopt;
}

void read_truncation(const Component& file, Tokenizer::State& state) {
  if (!file.has("truncation")) return;
  const Component truncation = file.child("truncation");
  truncation.allow({"direction", "max_length", "strategy", "stride"});
  if (truncation.get<std::string>("strategy") != "LongestFirst") truncation.unsupported("a strategy other than LongestFirst");
  if (truncation.get<int64_t>("stride", 0) != 0) truncation.unsupported("a stride: overflowing windows are not built");
  state.max_length = truncation.get<int64_t>("max_length");
  state.truncate_left = truncation.get<std::string>("direction", "Right") == "Left";
  if (state.max_length < std::max<int64_t>(1, state.post_processor.added(false))) {
    truncation.broken("has a max_length of {}, which does not hold the special tokens", state.max_length);
  }
}

// Every id that a template adds must be a token: an error here instead of a wrong row of the embedding later.
void check_template_ids(const Tokenizer::State& state, const std::string& where) {
  for (const auto* parts : {&state.post_processor.single, &state.post_processor.pair}) {
    for (const TemplatePart& part : *parts) {
      for (const int32_t id : part.ids) {
        check(state.added.find(id) || state.model->vocabulary().token(id), ErrorKind::file_format, where,
              "the post_processor adds the id {}, which no token has", id);
      }
    }
  }
}

// Trailing white space is no part of a token; a last line without a line end counts.
std::vector<std::string> read_lines(const fs::path& path) {
  const std::string text = read_file(path);
  check(is_utf8(text), ErrorKind::file_format, path.string(), "UTF-8 expected, got other bytes");
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const size_t last = text.find_last_not_of(" \t\r\v\f", end == begin ? begin : end - 1);
    lines.push_back(end == begin || last == std::string::npos || last < begin ? "" : text.substr(begin, last + 1 - begin));
    begin = end + 1;
  }
  check(!lines.empty(), ErrorKind::file_format, path.string(), "a vocabulary expected, got an empty file");
  return lines;
}

}  // namespace

void Tokenizer::State::set_margins() {
  if (post_processor.trims.empty()) return;
  margins.resize(static_cast<size_t>(model->vocabulary().end_id()));
  for (size_t id = 0; id < margins.size(); ++id) {
    if (const std::string* token = model->vocabulary().token(static_cast<int32_t>(id))) margins[id] = margins_of(*token);
  }
}

std::unique_ptr<Tokenizer::State> load_tokenizer_json(const fs::path& path) {
  return make_state(parse_json(read_file(path), path.string()), path);
}

std::unique_ptr<Tokenizer::State> make_state(const Json& json, const fs::path& path) {
  const std::string where = path.string();
  const Component file(json, where, "");
  file.allow({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"});
  if (file.get<std::string>("version", "1.0") != "1.0") file.unsupported("a version other than 1.0");
  auto state = std::make_unique<Tokenizer::State>();
  if (file.has("normalizer")) state->normalizer = make_normalizer(file.child("normalizer"));
  if (file.has("pre_tokenizer")) state->pre_tokenizer = make_pre_tokenizer(file.child("pre_tokenizer"));
  state->model = make_model(file.child("model"));
  if (file.has("post_processor")) state->post_processor = make_post_processor(file.child("post_processor"));
  if (file.has("decoder")) state->decoder = make_decoder(file.child("decoder"));
  state->added = AddedTokens(read_added_tokens(file), *state->model, state->normalizer.get(), where);
  check_template_ids(*state, where);
  state->set_margins();
  read_truncation(file, *state);
  if (file.has("padding")) {
    state->pad_id = file.child("padding").get<int32_t>("pad_id");
  } else {
    state->pad_id = find_pad(*state, path);
  }
  return state;
}

std::unique_ptr<Tokenizer::State> load_vocab_txt(const fs::path& path) {
  const Json json = read_beside(path, "tokenizer_config.json");
  const Component config(json, (path.parent_path() / "tokenizer_config.json").string(), "");
  if (config.has("never_split")) config.unsupported("a list 'never_split'");
  if (!config.get<bool>("do_basic_tokenize", true)) config.unsupported("do_basic_tokenize = false");
  BertOptions bert;
  bert.lowercase = config.get<bool>("do_lower_case", true);
  bert.handle_chinese_chars = config.get<bool>("tokenize_chinese_chars", true);
  if (config.has("strip_accents")) bert.strip_accents = config.get<bool>("strip_accents");

  auto state = std::make_unique<Tokenizer::State>();
  state->normalizer = make_bert_normalizer(bert);
  state->pre_tokenizer = make_bert_pre_tokenizer();
  WordPieceOptions options;
  options.unk_token = token_setting(json, "unk_token").value_or(options.unk_token);
  const std::string where = path.string();
  state->model = make_word_piece(Vocabulary(read_lines(path), where), options, where);
  state->decoder = word_piece_decoder(options.continuing_subword_prefix, true);

  std::vector<AddedToken> special;
  const auto add = [&](const std::string& content, bool required) {
    const int32_t id = state->model->vocabulary().find(content);
    check(id >= 0 || !required, ErrorKind::file_format, where, "the vocabulary has no '{}'", content);
    const bool is_new = std::none_of(special.begin(), special.end(), [&](const AddedToken& token) { return token.content == content; });
    if (id >= 0 && is_new) special.push_back({.id = id, .content = content, .shown = {}, .special = true});
    return id;
  };
  add(options.unk_token, true);
  const int32_t sep = add(token_setting(json, "sep_token").value_or("[SEP]"), true);
  const int32_t cls = add(token_setting(json, "cls_token").value_or("[CLS]"), true);
  add(token_setting(json, "pad_token").value_or("[PAD]"), false);
  add(token_setting(json, "mask_token").value_or("[MASK]"), false);
  state->added = AddedTokens(std::move(special), *state->model, nullptr, where);
  state->post_processor = bert_post_processor(cls, sep);
  state->pad_id = find_pad(*state, path);
  return state;
}

Tokenizer Tokenizer::load(const fs::path& folder_or_file) {
  if (!fs::is_directory(folder_or_file)) {
    if (folder_or_file.filename() == "vocab.json") return Tokenizer(load_clip_files(folder_or_file));
    const bool is_json = folder_or_file.extension() == ".json";
    return Tokenizer(is_json ? load_tokenizer_json(folder_or_file) : load_vocab_txt(folder_or_file));
  }
  if (fs::exists(folder_or_file / "tokenizer.json")) return Tokenizer(load_tokenizer_json(folder_or_file / "tokenizer.json"));
  if (fs::exists(folder_or_file / "vocab.txt")) return Tokenizer(load_vocab_txt(folder_or_file / "vocab.txt"));
  if (fs::exists(folder_or_file / "vocab.json") && fs::exists(folder_or_file / "merges.txt")) {
    return Tokenizer(load_clip_files(folder_or_file / "vocab.json"));
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder_or_file)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  if (names.size() > 20) names.resize(20);
  fail(ErrorKind::io, folder_or_file.string(),
       fmt::format("tokenizer.json, vocab.txt, or vocab.json with merges.txt expected, got {}",
                   names.empty() ? "an empty folder" : fmt::format("{}", fmt::join(names, ", "))),
       "is this a model folder?");
}

}  // namespace lowrank::text
