#include "lowrank/text/tokenizer.h"

#include <fstream>
#include <gtest/gtest.h>
#include <thread>

#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace lowrank::text {
namespace {

using lowrank::test::TempDir;
using testing::ElementsAre;

constexpr const char* kVocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nhello\nwor\n##ld\n!\nA\na\n";
constexpr const char* kHead = R"({"version":"1.0","added_tokens":[],"model":{"type":"WordPiece","unk_token":"?",
  "continuing_subword_prefix":"##","max_input_chars_per_word":9,"vocab":{"?":0,"a":1,"b":2,"##b":3}})";

class TokenizerTest : public testing::Test {
 protected:
  void write(const char* name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  Tokenizer load() { return Tokenizer::load(folder_.path()); }
  Tokenizer load_json(const std::string& rest) {
    write("tokenizer.json", kHead + rest + "}");
    return load();
  }
  TempDir folder_;
};

TEST_F(TokenizerTest, VocabTxt_GivesBertsEncoding) {
  write("vocab.txt", kVocabulary);
  const Encoding e = load().encode("Hello, WORLD!");
  EXPECT_THAT(e.ids, ElementsAre(2, 4, 1, 5, 6, 7, 3));
  EXPECT_THAT(e.offsets,
              ElementsAre(Offset{0, 0}, Offset{0, 5}, Offset{5, 6}, Offset{7, 10}, Offset{10, 12}, Offset{12, 13}, Offset{0, 0}));
  EXPECT_THAT(e.special, ElementsAre(1, 0, 0, 0, 0, 0, 1));
  EXPECT_EQ(e.full_length, 7);
  EXPECT_FALSE(e.truncated);
}

TEST_F(TokenizerTest, VocabTxt_Pair_HasTypes) {
  write("vocab.txt", kVocabulary);
  const Encoding e = load().encode("hello", "a!");
  EXPECT_THAT(e.ids, ElementsAre(2, 4, 3, 9, 7, 3));
  EXPECT_THAT(e.type_ids, ElementsAre(0, 0, 0, 1, 1, 1));
}

TEST_F(TokenizerTest, VocabTxt_ConfigKeepsCase) {
  write("vocab.txt", kVocabulary);
  write("tokenizer_config.json", R"({"do_lower_case": false, "pad_token": {"content": "!"}})");
  const Tokenizer tokenizer = load();
  EXPECT_THAT(tokenizer.encode("A a").ids, ElementsAre(2, 8, 9, 3));
  EXPECT_EQ(tokenizer.pad_id(), 7);
  EXPECT_EQ(tokenizer.vocab_size(), 10);
}

TEST_F(TokenizerTest, MalformedUtf8_IsOneReplacementForEachSubpart) {
  write("vocab.txt", kVocabulary);
  const Encoding e = load().encode("a\xF0\x9F!\xC3 a");  // as "a\uFFFD!\uFFFD a"; BERT's cleaning removes U+FFFD
  EXPECT_THAT(e.ids, ElementsAre(2, 9, 7, 9, 3));
  EXPECT_THAT(e.offsets, ElementsAre(Offset{0, 0}, Offset{0, 1}, Offset{2, 3}, Offset{5, 6}, Offset{0, 0}));
}

TEST_F(TokenizerTest, SetMaxLength_TruncatesAndSaysSo) {
  write("vocab.txt", kVocabulary);
  Tokenizer tokenizer = load();
  tokenizer.set_max_length(4);
  const Encoding e = tokenizer.encode("a a a a a");
  EXPECT_THAT(e.ids, ElementsAre(2, 9, 9, 3));
  EXPECT_TRUE(e.truncated);
  EXPECT_EQ(e.full_length, 7);
  EXPECT_LOWRANK_ERROR(tokenizer.set_max_length(1), ErrorKind::invalid_argument, "at least 2 tokens");
  tokenizer.set_max_length(2);
  EXPECT_LOWRANK_ERROR(tokenizer.encode("a", "a"), ErrorKind::invalid_argument, "does not hold the 3 special ones");
}

TEST_F(TokenizerTest, FileTruncation_HoldsUntilOverridden) {
  Tokenizer tokenizer = load_json(R"(,"pre_tokenizer":{"type":"WhitespaceSplit"},
    "truncation":{"max_length":3,"strategy":"LongestFirst","stride":0,"direction":"Left"})");
  EXPECT_THAT(tokenizer.encode("a a a b b").ids, ElementsAre(1, 2, 2));
  tokenizer.set_max_length(0);
  EXPECT_EQ(tokenizer.encode("a a a b b").ids.size(), 5u);
}

TEST_F(TokenizerTest, Padding_IsNotAppliedButNamesThePad) {
  const Tokenizer tokenizer =
      load_json(R"(,"padding":{"strategy":{"Fixed":8},"direction":"Right","pad_id":2,"pad_type_id":0,"pad_token":"b"})");
  EXPECT_THAT(tokenizer.encode("ab").ids, ElementsAre(1, 3));
  EXPECT_EQ(tokenizer.pad_id(), 2);
}

TEST_F(TokenizerTest, OneTokenizer_ManyThreads_SameIds) {
  write("vocab.txt", kVocabulary);
  const Tokenizer tokenizer = load();
  const std::vector<int32_t> expected = tokenizer.encode("Hello wörld!").ids;
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) count += tokenizer.encode("Hello wörld!").ids != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, testing::Each(0));
}

TEST_F(TokenizerTest, Ids_BothWays) {
  write("vocab.txt", kVocabulary);
  const Tokenizer tokenizer = load();
  EXPECT_EQ(tokenizer.token_to_id("##ld"), 6);
  EXPECT_EQ(tokenizer.token_to_id("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(6), "##ld");
  EXPECT_EQ(tokenizer.decode({2, 4, 5, 6, 7, 3}), "hello world!");
  EXPECT_LOWRANK_ERROR(tokenizer.id_to_token(99), ErrorKind::invalid_argument, "no token has the id 99");
}

TEST_F(TokenizerTest, FolderWithoutTokenizer_NamesWhatIsThere) {
  write("config.json", "{}");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::io, "got config.json");
}

TEST_F(TokenizerTest, MissingFile_IsIo) { EXPECT_LOWRANK_ERROR(Tokenizer::load(folder_ / "vocab.txt"), ErrorKind::io, "vocab.txt"); }

TEST_F(TokenizerTest, TruncatedFile_IsFileFormat) {
  write("tokenizer.json", kHead);
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "not valid JSON");
}

TEST_F(TokenizerTest, UnknownNormalizer_IsNamedWithItsPlace) {
  EXPECT_LOWRANK_ERROR(load_json(R"(,"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Precompiled"}]})"),
                       ErrorKind::unsupported, "normalizer.normalizers[1]: normalizer 'Precompiled'");
}

TEST_F(TokenizerTest, UnknownKey_IsNamedWithItsPlace) {
  EXPECT_LOWRANK_ERROR(load_json(R"(,"pre_tokenizer":{"type":"Digits","individual_digits":true,"base":10})"), ErrorKind::unsupported,
                       "pre_tokenizer: unknown key 'base'");
}

TEST_F(TokenizerTest, MissingOption_IsNamedWithItsPlace) {
  EXPECT_LOWRANK_ERROR(load_json(R"(,"pre_tokenizer":{"type":"Digits"})"), ErrorKind::file_format,
                       "pre_tokenizer has no 'individual_digits'");
}

TEST_F(TokenizerTest, UnknownModel_IsRefused) {
  write("tokenizer.json", R"({"model":{"type":"Unigram","vocab":[]}})");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "model: model 'Unigram'");
}

TEST_F(TokenizerTest, Dropout_IsRefused) {
  write("tokenizer.json", R"({"model":{"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]}})");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "merge dropout");
}

TEST_F(TokenizerTest, MergeOfUnknownToken_IsFileFormat) {
  write("tokenizer.json", R"({"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}})");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "merge 0 ('a' + 'b')");
}

TEST_F(TokenizerTest, SameIdTwice_IsFileFormat) {
  write("tokenizer.json", R"({"model":{"type":"BPE","vocab":{"a":1,"b":1},"merges":[]}})");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "the same id 1");
}

TEST_F(TokenizerTest, AddedTokenWithAnotherId_IsFileFormat) {
  write("tokenizer.json", R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"added_tokens":[{"id":5,"content":"x",
    "single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}]})");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "added token 'x' has the id 5 in the file, but takes the id 1");
}

TEST_F(TokenizerTest, TemplateIdOutsideTheVocabulary_IsFileFormat) {
  EXPECT_LOWRANK_ERROR(load_json(R"(,"post_processor":{"type":"BertProcessing","sep":["[SEP]",77],"cls":["a",1]})"), ErrorKind::file_format,
                       "the id 77");
}

TEST_F(TokenizerTest, DuplicateLine_IsFileFormat) {
  write("vocab.txt", "[UNK]\na\nb\na\n");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "token 'a' is on lines 2 and 4");
}

TEST_F(TokenizerTest, VocabularyWithoutUnknownToken_IsFileFormat) {
  write("vocab.txt", "a\nb\n");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "no unknown token '[UNK]'");
}

TEST_F(TokenizerTest, LongLine_IsEncodedInSeconds) {
  const Tokenizer tokenizer = Tokenizer::load(std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/text/gpt2.tokenizer.json");
  const std::string text(1 << 20, 'a');
  const Encoding e = tokenizer.encode(text);
  EXPECT_EQ(e.offsets.back().end, 1 << 20);
}

}  // namespace
}  // namespace lowrank::text
