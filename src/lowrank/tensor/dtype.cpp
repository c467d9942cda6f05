#include "lowrank/tensor/dtype.h"

#include <array>
#include <string>

#include "lowrank/base/error.h"

namespace lowrank::tensor {

namespace {

struct Row {
  io::DType stored;
  c10::ScalarType torch;
  std::string_view name;
};

constexpr std::array<Row, 15> kTable{{
    {io::DType::f64, c10::kDouble, "float64"},
    {io::DType::f32, c10::kFloat, "float32"},
    {io::DType::f16, c10::kHalf, "float16"},
    {io::DType::bf16, c10::kBFloat16, "bfloat16"},
    {io::DType::f8_e4m3, c10::kFloat8_e4m3fn, "float8_e4m3fn"},
    {io::DType::f8_e5m2, c10::kFloat8_e5m2, "float8_e5m2"},
    {io::DType::i64, c10::kLong, "int64"},
    {io::DType::i32, c10::kInt, "int32"},
    {io::DType::i16, c10::kShort, "int16"},
    {io::DType::i8, c10::kChar, "int8"},
    {io::DType::u64, c10::kUInt64, "uint64"},
    {io::DType::u32, c10::kUInt32, "uint32"},
    {io::DType::u16, c10::kUInt16, "uint16"},
    {io::DType::u8, c10::kByte, "uint8"},
    {io::DType::boolean, c10::kBool, "bool"},
}};

}  // namespace

c10::ScalarType to_torch(io::DType dtype) {
  for (const Row& row : kTable) {
    if (row.stored == dtype) return row.torch;
  }
  fail(ErrorKind::unsupported, "dtype", fmt::format("libtorch has no type for {}", io::to_string(dtype)));
}

io::DType to_io(c10::ScalarType dtype) {
  for (const Row& row : kTable) {
    if (row.torch == dtype) return row.stored;
  }
  fail(ErrorKind::unsupported, "dtype", fmt::format("{} cannot be stored", c10::toString(dtype)));
}

c10::ScalarType parse_dtype(std::string_view name) {
  for (const Row& row : kTable) {
    if (row.name == name) return row.torch;
  }
  fail(ErrorKind::invalid_argument, "dtype", fmt::format("expected a dtype such as float32 or bfloat16, got '{}'", name));
}

std::string_view dtype_name(c10::ScalarType dtype) {
  for (const Row& row : kTable) {
    if (row.torch == dtype) return row.name;
  }
  return c10::toString(dtype);
}

}  // namespace lowrank::tensor
