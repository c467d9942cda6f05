#include "safetensors_text.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace lowrank::io {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/io/safetensors";
const Metadata kMetadata{{"format", "pt"}, {"note", "quote \" backslash \\ tab \t bell \x07 é 層"}};

// As tools/golden/safetensors_corpus.py makes them: byte k of tensor number t is (31 k + 7 t) mod 256.
struct GoldenTensors {
  std::vector<std::string> data;
  std::vector<TensorOut> tensors;

  GoldenTensors() {
    for (size_t t = 0; t < kDTypeCount; ++t) {
      std::string& bytes = data.emplace_back();
      for (size_t k = 0; k < 6 * byte_size(static_cast<DType>(t)); ++k) bytes += static_cast<char>((31 * k + 7 * t) % 256);
    }
    for (size_t t = 0; t < kDTypeCount; ++t) {
      const auto dtype = static_cast<DType>(t);
      const std::string name(to_string(dtype));
      const auto bytes = bytes_of(data[t]);
      tensors.push_back({"t." + name, dtype, {2, 3}, bytes});
      if (t % 2 == 1) tensors.push_back({"a." + name, dtype, {0, 2}, {}});
      if (t % 2 == 0) tensors.push_back({"a." + name, dtype, {}, bytes.first(byte_size(dtype))});
    }
  }
};

TEST(SafetensorsGolden, EveryDtypeOfTheReferenceIsReadExactly) {
  const GoldenTensors golden;
  const TensorFile file = TensorFile::open(kFolder / "written_all_dtypes.safetensors");
  EXPECT_EQ(file.metadata(), kMetadata);
  ASSERT_EQ(file.tensors().size(), golden.tensors.size());
  for (const auto& expected : golden.tensors) {
    SCOPED_TRACE(expected.name);
    const TensorView& read = file.at(expected.name);
    EXPECT_EQ(read.dtype, expected.dtype);
    EXPECT_EQ(read.shape, expected.shape);
    EXPECT_TRUE(std::ranges::equal(read.bytes, expected.bytes));
    EXPECT_EQ(static_cast<size_t>(read.numel()) * byte_size(read.dtype), read.bytes.size());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(read.bytes.data()) % (read.bytes.empty() ? 1 : byte_size(read.dtype)), 0U);
  }
}

TEST(SafetensorsGolden, WrittenBytesAreTheReferences) {
  const test::TempDir dir;
  write_safetensors(dir / "all", GoldenTensors().tensors, kMetadata);
  EXPECT_EQ(read_file(dir / "all"), read_file(kFolder / "written_all_dtypes.safetensors"));
  write_safetensors(dir / "nothing", {}, {});
  EXPECT_EQ(read_file(dir / "nothing"), read_file(kFolder / "written_nothing.safetensors"));
}

TEST(WriteSafetensors, OrderOfTheArgumentsDoesNotMatter) {
  const test::TempDir dir;
  GoldenTensors golden;
  std::ranges::reverse(golden.tensors);
  write_safetensors(dir / "x", golden.tensors, kMetadata);
  EXPECT_EQ(read_file(dir / "x"), read_file(kFolder / "written_all_dtypes.safetensors"));
}

TEST(WriteSafetensors, NamesEveryProblemAndLeavesTheTargetAlone) {
  const test::TempDir dir;
  write_file_atomic(dir / "x", "old");
  const std::string four = "1234";
  const auto write = [&](const std::string& name, std::vector<int64_t> shape) {
    write_safetensors(dir / "x", {{name, DType::f32, std::move(shape), bytes_of(four)}, {"ok", DType::i8, {4}, bytes_of(four)}}, {});
  };
  EXPECT_LOWRANK_ERROR(write("w", {2}), ErrorKind::invalid_argument, "tensor 'w': F32 [2] takes 8 bytes, got 4");
  EXPECT_LOWRANK_ERROR(write("w", {-1}), ErrorKind::invalid_argument, "the shape of F32 [-1] is negative or overflows");
  EXPECT_LOWRANK_ERROR(write("ok", {1}), ErrorKind::invalid_argument, "tensor 'ok' is given twice");
  EXPECT_LOWRANK_ERROR(write("__metadata__", {1}), ErrorKind::invalid_argument, "is reserved for the metadata");
  EXPECT_LOWRANK_ERROR(write("a\nb", {1}), ErrorKind::invalid_argument, "tensor name 'a\\nb' holds a control character");
  EXPECT_LOWRANK_ERROR(write("a\xff", {1}), ErrorKind::invalid_argument, "is not UTF-8");
  EXPECT_LOWRANK_ERROR(write("a\nb", {2}), ErrorKind::invalid_argument, "2 problems:");
  EXPECT_LOWRANK_ERROR(write_safetensors(dir / "x", {}, {{"k", "\xff"}}), ErrorKind::invalid_argument, "expected UTF-8 text");
  EXPECT_EQ(read_file(dir / "x"), "old");
}

}  // namespace
}  // namespace lowrank::io
