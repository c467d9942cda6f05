#include "lowrank/base/json.h"

#include "support/expect_error.h"

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

TEST(JsonGet, FallsBackAndChecksTypes) {
  const Json value = parse_json(R"({"r": 8, "name": null})", "t");
  EXPECT_EQ(json_get<int>(value, "r", 1, "t"), 8);
  EXPECT_EQ(json_get<std::string>(value, "name", "none", "t"), "none");
  EXPECT_LOWRANK_ERROR(json_get<std::string>(value, "r", "", "c.json"), ErrorKind::file_format, "key 'r'");
}

}  // namespace
}  // namespace lowrank
