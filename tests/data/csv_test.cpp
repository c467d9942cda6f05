#include "lowrank/data/csv.h"

#include "support/expect_error.h"

#include "lowrank/base/json.h"

namespace lowrank::data {
namespace {

Json records_of(const std::vector<CsvRecord>& records) {
  Json json = Json::array();
  for (const auto& record : records) json.push_back({record.line, record.fields});
  return json;
}

TEST(Csv, ReadsAndRefusesWhatPythonsStrictReaderDoes) {
  const Json golden = read_json(LOWRANK_SOURCE_DIR "/tests/golden/data/csv.json");
  int refused = 0;
  for (const auto& item : golden["cases"]) {
    const auto text = item["text"].get<std::string>();
    const char separator = item["separator"].get<std::string>().front();
    Json actual;
    try {
      actual = records_of(parse_csv(text, separator, "t.csv").records);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::file_format);
      ++refused;
    }
    EXPECT_EQ(actual, item["records"]) << item.dump();
  }
  EXPECT_GE(golden["cases"].size(), 1500U);
  EXPECT_GE(refused, 100);
}

TEST(Csv, AnUnclosedQuoteNamesTheLineThatOpensIt) {
  EXPECT_LOWRANK_ERROR(parse_csv("a,b\n\"x\ny\",\"z\nmore\nlines", ',', "t.csv"), ErrorKind::file_format,
                       "[t.csv] line 3: the quote opened here is never closed");
}

TEST(Csv, TextAfterAClosingQuoteNamesItsLine) {
  EXPECT_LOWRANK_ERROR(parse_csv("a,b\r\n\"x\"y,z\r\n", ',', "t.csv"), ErrorKind::file_format,
                       "line 2: expected ',' or the end of the line after a closing quote, got 'y'");
}

TEST(Csv, BlankLinesAreCounted) { EXPECT_EQ(parse_csv("a\n\n\nb\n", ',', "t").blank_lines, 2); }

TEST(Tsv, QuotesAreOrdinaryUnlessTheyFrameTheField) {
  const auto table = parse_tsv("a\tb\n5\" disk\t\"said\" he\n\"q \"\"x\"\" q\"\t\"bad\" quote\"\r\n\nlast\t");
  EXPECT_EQ(records_of(table.records), parse_json(R"([[1, ["a", "b"]], [2, ["5\" disk", "\"said\" he"]],
      [3, ["q \"x\" q", "\"bad\" quote\""]], [5, ["last", ""]]])",
                                                  "t"));
  EXPECT_EQ(table.blank_lines, 1);
}

}  // namespace
}  // namespace lowrank::data
