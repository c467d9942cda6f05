#include "lowrank/data/table.h"

#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"

namespace lowrank::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Table parse(std::string_view text, std::string_view where = "t.jsonl", TableOptions options = {}) {
  return parse_table(text, where, options);
}

std::string error_of(std::string_view text, std::string_view where = "t.jsonl", TableOptions options = {}) {
  try {
    parse_table(text, where, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Table, JsonLinesKeepTextLabelAndLine) {
  const auto table = parse("{\"text\": \"a\\nb\", \"label\": \"x\"}\r\n\n{\"label\": 3, \"text\": \"ü\"}");
  ASSERT_EQ(table.rows.size(), 2U);
  EXPECT_EQ(table.rows[0].text, "a\nb");
  EXPECT_THAT(table.rows[0].labels, ElementsAre("x"));
  EXPECT_EQ(table.rows[1].line, 3);
  EXPECT_THAT(table.rows[1].labels, ElementsAre("3"));
  EXPECT_EQ(table.blank_lines, 1);
  EXPECT_EQ(table.format, "jsonl");
}

TEST(Table, CsvWithMarkCrlfAndEmbeddedNewlines) {
  const auto table = parse("\xEF\xBB\xBFSentence,Category,id\r\n\"one, \"\"two\"\"\nthree\",a,1\r\nfour, b ,2\r\n", "t.csv");
  EXPECT_EQ(table.rows[0].text, "one, \"two\"\nthree");
  EXPECT_EQ(table.rows[1].line, 4);
  EXPECT_THAT(table.rows[1].labels, ElementsAre("b"));
  EXPECT_EQ(table.columns.text, "Sentence");
  EXPECT_THAT(table.columns.detected, ElementsAre("text column 'Sentence'", "label column 'Category'"));
  EXPECT_THAT(table.columns.unused, ElementsAre("id"));
}

TEST(Table, SemicolonsWhereTheHeaderHasNoComma) { EXPECT_EQ(parse("text;label\na, b;1,5\n", "t.csv").rows[0].text, "a, b"); }

TEST(Table, PairsAreDetectedUnlessATextColumnIsNamed) {
  const auto pair = parse("sentence1\tsentence2\tlabel\na\tb\t0\n", "t.tsv");
  EXPECT_EQ(pair.rows[0].text_pair, "b");
  const auto single = parse("sentence1\tsentence2\tlabel\na\tb\t0\n", "t.tsv", {.text_column = "sentence1"});
  EXPECT_EQ(single.rows[0].text_pair, "");
  EXPECT_THAT(single.columns.unused, ElementsAre("sentence2"));
}

TEST(Table, LabelListsComeFromJsonOrASeparator) {
  const auto lists = parse(R"({"text": "a", "labels": ["x", "y"]})"
                           "\n"
                           R"({"text": "b", "labels": []})");
  EXPECT_TRUE(lists.has_label_lists);
  EXPECT_THAT(lists.rows[0].labels, ElementsAre("x", "y"));
  EXPECT_TRUE(lists.rows[1].labels.empty());
  const auto cells = parse("text,label\na,x| y\n", "t.csv", {.label_separator = "|"});
  EXPECT_THAT(cells.rows[0].labels, ElementsAre("x", "y"));
}

TEST(Table, LinesForPredictionNeedNoLabels) {
  const auto table = parse("first\n\nsecond\r\n", "<stdin>", {.labels_required = false});
  EXPECT_EQ(table.format, "lines");
  EXPECT_EQ(table.rows[1].text, "second");
  EXPECT_EQ(table.rows[1].line, 3);
  EXPECT_EQ(parse("{\"text\": \"a\"}\n", "<stdin>", {.labels_required = false}).format, "jsonl");
}

TEST(Table, EveryBadJsonLineIsNamed) {
  const auto error = error_of("{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \n[1]\n{\"text\": \"b\", \"text\": \"c\", \"label\": 1}\n");
  EXPECT_THAT(error, HasSubstr("3 problems"));
  EXPECT_THAT(error, HasSubstr("line 2: syntax error"));
  EXPECT_THAT(error, HasSubstr("line 3: expected a JSON object, got array"));
  EXPECT_THAT(error, HasSubstr("line 4: JSON refused: duplicate key 'text'"));
}

TEST(Table, EmptyTextsAndMissingLabelsAreNamedTogether) {
  const auto error = error_of(
      "{\"text\": \" \", \"label\": \"x\"}\n{\"text\": \"a\"}\n{\"text\": 5, \"label\": \"x\"}\n{\"label\": \"x\"}\n"
      "{\"text\": \"a\", \"label\": {\"k\": 1}}\n{\"text\": \"a\", \"label\": [\"x\", \"x\"]}\n");
  EXPECT_THAT(error, HasSubstr("line 1: no text in column 'text'"));
  EXPECT_THAT(error, HasSubstr("line 2: no label in column 'label'"));
  EXPECT_THAT(error, HasSubstr("line 3: expected text in column 'text', got 5"));
  EXPECT_THAT(error, HasSubstr("line 4: no text in column 'text'"));
  EXPECT_THAT(error, HasSubstr("line 5: expected a label, got {\"k\":1}"));
  EXPECT_THAT(error, HasSubstr("line 6: label 'x' is given twice"));
}

TEST(Table, RaggedRowsAreNamed) {
  const auto error = error_of("text,label\na,b\na,b,c\n\nd\n", "t.csv");
  EXPECT_THAT(error, HasSubstr("line 3: expected 2 fields, got 3"));
  EXPECT_THAT(error, HasSubstr("line 5: expected 2 fields, got 1"));
}

TEST(Table, BrokenUtf8NamesItsLines) {
  const auto error = error_of("text,label\nok,x\n\xE9t\xE9,y\n\xED\xA0\x80,z\n", "t.csv");
  EXPECT_THAT(error, HasSubstr("line 3: not UTF-8"));
  EXPECT_THAT(error, HasSubstr("line 4: not UTF-8"));
  EXPECT_THAT(error, HasSubstr("iconv -f latin1"));
  EXPECT_THAT(error_of(std::string_view("\xFF\xFEt\0", 4), "t.csv"), HasSubstr("expected UTF-8, got UTF-16"));
}

TEST(Table, UnknownColumnsListNearMisses) {
  EXPECT_THAT(error_of("text,label\na,b\n", "t.csv", {.text_column = "txt"}),
              HasSubstr("expected a column 'txt' (--text-column), got columns: text, label, did you mean 'text'?"));
  EXPECT_THAT(error_of("foo,label\na,b\n", "t.csv"), HasSubstr("name it with --text-column"));
  EXPECT_THAT(error_of("text,foo\na,b\n", "t.csv"), HasSubstr("name it with --label-column"));
  EXPECT_THAT(error_of("text,text,label\na,b,c\n", "t.csv"), HasSubstr("two columns are named 'text'"));
}

TEST(Table, EmptyFilesArraysAndUnknownEndingsAreRefused) {
  EXPECT_THAT(error_of("", "t.jsonl"), HasSubstr("expected rows of text, got none"));
  EXPECT_THAT(error_of("text,label\n", "t.csv"), HasSubstr("expected rows of text, got none"));
  EXPECT_THAT(error_of("[{\"text\": \"a\"}]"), HasSubstr("expected one JSON object a line, got one array"));
  EXPECT_THAT(error_of("text,label\na,b\n", "t.dat"), HasSubstr("name its format with --format"));
}

TEST(Table, ALineOfAMegabyteIsOneRow) {
  const std::string word(1 << 20, 'x');
  EXPECT_EQ(parse("text,label\n" + word + ",a\n", "t.csv").rows[0].text.size(), word.size());
  EXPECT_EQ(parse("{\"text\": \"" + word + "\", \"label\": 1}\n").rows[0].text.size(), word.size());
}

TEST(Table, FilesAreReadByTheirEnding) {
  const test::TempDir folder;
  write_file_atomic(folder / "a.TSV", "text\tlabel\na\tb\n");
  EXPECT_EQ(read_table(folder / "a.TSV", {}).format, "tsv");
  EXPECT_LOWRANK_ERROR(read_table(folder / "none.csv", {}), ErrorKind::io, "none.csv");
}

}  // namespace
}  // namespace lowrank::data
