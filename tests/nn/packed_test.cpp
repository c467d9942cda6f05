#include "lowrank/nn/packed.h"

#include "support/expect_error.h"

namespace lowrank::nn {
namespace {

TEST(Pack, ConcatenatesAndCountsPositionsAnew) {
  const Packed packed = pack({{5, 6, 7}, {8}}, {{0, 0, 1}, {0}});
  EXPECT_EQ(packed.tokens(), 4);
  EXPECT_EQ(packed.sequences(), 2);
  EXPECT_TRUE(packed.ids.equal(at::tensor({5, 6, 7, 8}, at::kLong)));
  EXPECT_TRUE(packed.positions.equal(at::tensor({0, 1, 2, 0}, at::kLong)));
  EXPECT_TRUE(packed.type_ids.equal(at::tensor({0, 0, 1, 0}, at::kLong)));
  EXPECT_TRUE(packed.first_rows(at::kCPU).equal(at::tensor({0, 3}, at::kLong)));
}

TEST(Pack, RefusesEmptySequencesAndUnequalLengths) {
  EXPECT_LOWRANK_ERROR(pack({{1}, {}}), ErrorKind::invalid_argument, "sequence 1 is empty");
  EXPECT_LOWRANK_ERROR(pack({{1, 2}}, {{0}}), ErrorKind::invalid_argument, "expected 2 type ids, got 1");
}

}  // namespace
}  // namespace lowrank::nn
