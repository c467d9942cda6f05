// Identical to the reference: ids, types, offsets, mask and decoded text of every case of tools/golden/text.py.
#include <fstream>
#include <gtest/gtest.h>

#include "corpus.h"
#include "support/temp_dir.h"

namespace lowrank::text::test {
namespace {

// The pad token of SDXL's second tokenizer: a text that is then found before any word is.
Tokenizer load_clip_with_pad(const std::string& pad) {
  const lowrank::test::TempDir folder;
  std::filesystem::copy(golden("clip_files"), folder.path(), std::filesystem::copy_options::recursive);
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    Json settings = read_json(folder / file);
    settings["pad_token"] = pad;
    std::ofstream(folder / file) << settings;
  }
  return Tokenizer::load(folder.path());
}

// `name` as tools/golden/text.py builds it: one of the small tokenizers, or MiniLM's with changes.
Tokenizer load(const std::string& name) {
  if (std::filesystem::exists(golden(name + ".tokenizer.json"))) return Tokenizer::load(golden(name + ".tokenizer.json"));
  if (name == "clip_files") return Tokenizer::load(golden(name));
  if (name == "clip_files_pad") return load_clip_with_pad("!");
  if (name == "minilm") return Tokenizer::load(minilm() / "tokenizer.json");
  const lowrank::test::TempDir folder;
  if (name == "minilm_vocab") {
    std::filesystem::copy(minilm() / "vocab.txt", folder / "vocab.txt");
    return Tokenizer::load(folder.path());
  }
  Json blob = read_json(minilm() / "tokenizer.json");
  const Json about = read_json(golden("corpus.json"));
  for (const auto& [key, value] : about.at("bert_variants").at(name).items()) blob[key] = value;
  std::ofstream(folder / "tokenizer.json") << blob;
  return Tokenizer::load(folder.path());
}

bool needs_minilm(const std::string& name) { return name.starts_with("minilm") || name.starts_with("bert_"); }

void expect_same(const std::string& name, size_t number, const std::string& expected, Tokenizer& tokenizer,
                 const std::vector<std::string>& texts, int& differences) {
  if (digest(tokenizer, number, texts) == expected) return;
  if (++differences <= 5) ADD_FAILURE() << name << ", case " << number << ": " << testing::PrintToString(texts[number]);
}

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, EveryCaseIsTheReferences) {
  const std::string name = GetParam();
  if (needs_minilm(name) && minilm().empty()) GTEST_SKIP() << "MiniLM is not here: set LOWRANK_MINILM or run 'make setup'";
  const std::vector<std::string> texts = corpus();
  const auto hashes = read_json(golden(name + ".golden.json")).at("hashes").get<std::string>();
  ASSERT_EQ(hashes.size(), texts.size() * 5);
  Tokenizer tokenizer = load(name);
  int differences = 0;
  for (size_t i = 0; i < texts.size(); ++i) expect_same(name, i, hashes.substr(i * 5, 5), tokenizer, texts, differences);
  EXPECT_EQ(differences, 0) << "of " << texts.size();
}

const char* const kNames[] = {"minilm",
                              "minilm_vocab",
                              "bert_cased",
                              "bert_cased_stripped",
                              "bert_lower_accents",
                              "bert_added",
                              "gpt2",
                              "roberta",
                              "llama3",
                              "qwen2",
                              "smollm2",
                              "byte_fallback",
                              "suffix",
                              "word_piece",
                              "clip",
                              "clip_files",
                              "clip_files_pad"};
INSTANTIATE_TEST_SUITE_P(Tokenizers, Golden, testing::ValuesIn(kNames), [](const auto& info) { return std::string(info.param); });

std::string from_hex(const std::string& digits) {
  std::string out;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) out += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  return out;
}

// 20,000 strings with this machine's package descriptions: tools/golden/text.py --live FILE,
// LOWRANK_TOKENIZERS_LIVE=FILE.
TEST(Live, TwentyThousandStrings) {
  const char* file = std::getenv("LOWRANK_TOKENIZERS_LIVE");
  if (!file || minilm().empty()) GTEST_SKIP() << "set LOWRANK_TOKENIZERS_LIVE to the file of tools/golden/text.py --live";
  std::vector<std::string> texts;
  std::vector<Json> hashes;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const Json row = parse_json(line, file);
    texts.push_back(from_hex(row.at("text").get<std::string>()));
    hashes.push_back(row.at("hashes"));
  }
  ASSERT_EQ(texts.size(), 20000u);
  std::vector<std::string> names(std::begin(kNames), std::end(kNames));
  const std::string clip = std::string(file) + ".clip";
  if (std::filesystem::exists(clip)) names.push_back("clip_real");
  for (const std::string& name : names) {
    Tokenizer tokenizer = name == "clip_real" ? Tokenizer::load(clip) : load(name);
    int differences = 0;
    for (size_t i = 0; i < texts.size(); ++i) expect_same(name, i, hashes[i].at(name).get<std::string>(), tokenizer, texts, differences);
    RecordProperty(name, differences);
    EXPECT_EQ(differences, 0) << name;
  }
}

}  // namespace
}  // namespace lowrank::text::test
