#include "lowrank/base/error.h"

#include "support/expect_error.h"

namespace lowrank {
namespace {

TEST(Error, SaysWhereWhatAndHow) {
  const Error error(ErrorKind::shape, "load", "expected [2, 3], got [3, 2]", "transpose it");
  EXPECT_STREQ(error.what(), "[load] expected [2, 3], got [3, 2]\n  hint: transpose it");
}

TEST(Error, EveryKindHasItsOwnName) {
  EXPECT_EQ(to_string(ErrorKind::file_format), "file_format");
  EXPECT_EQ(to_string(ErrorKind::cancelled), "cancelled");
  EXPECT_NE(exit_status(ErrorKind::io), exit_status(ErrorKind::shape));
}

TEST(Problems, ListsAllOfThem) {
  Problems problems(ErrorKind::invalid_argument, "config.yaml");
  problems.raise_if_any();
  problems.add("rank is negative");
  problems.add("alpha is text");
  EXPECT_LOWRANK_ERROR(problems.raise_if_any("see --help"), ErrorKind::invalid_argument,
                       "2 problems:\n  - rank is negative\n  - alpha is text\n  hint: see --help");
}

TEST(DidYouMean, OffersTheNearestOnly) {
  EXPECT_EQ(did_you_mean("querry", {"key", "query", "value"}), ", did you mean 'query'?");
  EXPECT_EQ(did_you_mean("zzzzzz", {"key", "query"}), "");
}

}  // namespace
}  // namespace lowrank
