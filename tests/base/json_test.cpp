#include "lowrank/base/json.h"

#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"

namespace lowrank {
namespace {

TEST(ParseJson, KeepsKeyOrderAndSortsOnOutput) {
  const Json value = parse_json(R"({"b": 1, "a": {"z": 1, "y": 2}})", "t");
  EXPECT_EQ(value.begin().key(), "b");
  EXPECT_EQ(format_json(value), "{\n  \"a\": {\n    \"z\": 1,\n    \"y\": 2\n  },\n  \"b\": 1\n}\n");
}

TEST(ParseJson, RefusesDuplicateKeys) {
  EXPECT_LOWRANK_ERROR(parse_json(R"({"a": 1, "a": 2})", "x.json"), ErrorKind::file_format, "duplicate key 'a'");
  EXPECT_NO_THROW(parse_json(R"([{"a": 1}, {"a": 2}])", "x.json"));
}

TEST(ParseJson, NamesLineAndColumn) {
  EXPECT_LOWRANK_ERROR(parse_json("{\n  \"a\": ?\n}", "x.json"), ErrorKind::file_format, "line 2, column 8");
  EXPECT_LOWRANK_ERROR(parse_json("", "x.json"), ErrorKind::file_format, "the file is empty");
}

TEST(ParseJson, RefusesAbsurdNesting) {
  EXPECT_LOWRANK_ERROR(parse_json(std::string(300, '[') + std::string(300, ']'), "x"), ErrorKind::file_format, "nested deeper");
}

TEST(ParseJson, RefusesWhatFollowsANulByte) {
  EXPECT_LOWRANK_ERROR(parse_json(std::string_view("{}\0garbage", 10), "x"), ErrorKind::file_format, "a NUL byte at byte 2");
}

TEST(ParseJson, BuildsEveryKindOfValue) {
  const std::string text = R"({"o":{"a":[1,-2,3.5,"é",true,false,null,[],{}]},"big":18446744073709551615})";
  EXPECT_EQ(parse_json(text, "x").dump(), text);
}

TEST(ParseJson, TakesTimeInProportionToTheNumberOfKeys) {
  std::string text = "{\"k0\":0";
  for (int i = 1; i < 200000; ++i) text += fmt::format(",\"k{}\":{}", i, i);
  const Json value = parse_json(text + "}", "x");  // a search for each key among the earlier ones takes minutes
  EXPECT_EQ(value.size(), 200000U);
}

TEST(ReadPythonJson, TakesNullForWhatIsNoJson) {
  const test::TempDir folder;
  write_file_atomic(folder / "a.json", R"({"a": -Infinity, "b": [NaN, Infinity, 1], "c": "NaN \"-Infinity\"", "NaN": 2})");
  EXPECT_EQ(read_python_json(folder / "a.json"),
            Json({{"a", nullptr}, {"b", {nullptr, nullptr, 1}}, {"c", "NaN \"-Infinity\""}, {"NaN", 2}}));
}

TEST(JsonGet, FallsBackAndChecksTypes) {
  const Json value = parse_json(R"({"r": 8, "name": null})", "t");
  EXPECT_EQ(json_get<int>(value, "r", 1, "t"), 8);
  EXPECT_EQ(json_get<std::string>(value, "name", "none", "t"), "none");
  EXPECT_LOWRANK_ERROR(json_get<std::string>(value, "r", "", "c.json"), ErrorKind::file_format, "key 'r'");
}

}  // namespace
}  // namespace lowrank
