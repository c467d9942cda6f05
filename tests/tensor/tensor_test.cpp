#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <cmath>

#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/load.h"
#include "lowrank/tensor/memory.h"
#include "lowrank/tensor/random.h"
#include "lowrank/tensor/runtime.h"

namespace lowrank::tensor {
namespace {

TEST(Dtype, NamesGoBothWays) {
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf, at::kLong, at::kByte, at::kBool}) {
    EXPECT_EQ(parse_dtype(dtype_name(dtype)), dtype);
    EXPECT_EQ(to_torch(to_io(dtype)), dtype);
  }
  EXPECT_LOWRANK_ERROR(parse_dtype("fp32"), ErrorKind::invalid_argument, "got 'fp32'");
}

TEST(SaveTensors, RoundTripKeepsBytesDtypeAndShape) {
  const test::TempDir dir;
  const TensorMap tensors = {{"a", at::randn({3, 2}).to(at::kBFloat16)}, {"b.c", at::randn({4}, at::kDouble)}, {"scalar", at::randn({})}};
  save_tensors(dir / "x.safetensors", tensors, {{"format", "pt"}});
  const TensorMap loaded = load_tensors(dir / "x.safetensors");
  ASSERT_EQ(loaded.size(), 3U);
  for (const auto& [name, value] : tensors) {
    EXPECT_EQ(loaded.at(name).scalar_type(), value.scalar_type());
    EXPECT_TRUE(loaded.at(name).equal(value)) << name;
  }
}

TEST(SaveTensors, WritesAViewsOwnElementsOnly) {
  const test::TempDir dir;
  const at::Tensor base = at::randn({4, 6});
  save_tensors(dir / "x.safetensors", {{"t", base.t().slice(0, 1, 3)}}, {});
  EXPECT_TRUE(load_tensors(dir / "x.safetensors").at("t").equal(base.t().slice(0, 1, 3)));
}

TEST(FillKaiming, StaysWithinItsBoundAndFillsIt) {
  at::Tensor weight = at::zeros({64, 100});
  fill_kaiming_(weight, RandomStream(1, "init"));
  EXPECT_LE(weight.abs().max().item<double>(), 0.1);
  EXPECT_NEAR(weight.std().item<double>(), 0.1 / std::sqrt(3.0), 0.001);
}

TEST(Fill, EqualSeedsGiveEqualValuesInEveryDtype) {
  at::Tensor wide = at::zeros({50}, at::kDouble), narrow = at::zeros({50}, at::kFloat);
  fill_normal_(wide, 0, 1, RandomStream(1, "init"));
  fill_normal_(narrow, 0, 1, RandomStream(1, "init"));
  EXPECT_TRUE(wide.to(at::kFloat).equal(narrow));
}

TEST(Runtime, KnowsItsMemory) {
  EXPECT_GT(used_bytes(at::kCPU), 10 << 20);
  EXPECT_GE(peak_bytes(at::kCPU), used_bytes(at::kCPU) / 2);
  EXPECT_GT(available_bytes(at::kCPU), 1 << 20);
}

TEST(Runtime, RefusesUnknownDevices) {
  EXPECT_LOWRANK_ERROR(parse_device("gpu"), ErrorKind::invalid_argument, "got 'gpu'");
  EXPECT_EQ(parse_device("cpu"), at::kCPU);
}

}  // namespace
}  // namespace lowrank::tensor
