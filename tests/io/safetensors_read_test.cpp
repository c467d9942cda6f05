#include "safetensors_text.h"
#include "support/expect_error.h"

namespace lowrank::io {
namespace {

void refuses(const std::string& file, std::string_view sentence, ErrorKind kind = ErrorKind::file_format) {
  SCOPED_TRACE(file.substr(0, 200));
  EXPECT_LOWRANK_ERROR(parse_safetensors(bytes_of(file), "x.safetensors"), kind, std::string(sentence));
  EXPECT_LOWRANK_ERROR(parse_safetensors(bytes_of(file), "x.safetensors"), kind, "[x.safetensors]");
}

std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return fmt::format(R"({{"w":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape, offsets);
}

TEST(ParseSafetensors, GivesViewsIntoTheFile) {
  const std::string file = file_of(R"({"__metadata__":{"format":"pt"},)" + f32("b", 1, 8) + "," + f32("a", 2, 0) + "}", "aaaabbbbcccc");
  const Contents contents = parse_safetensors(bytes_of(file), "x");
  EXPECT_EQ(contents.metadata, (Metadata{{"format", "pt"}}));
  ASSERT_EQ(contents.tensors.size(), 2U);
  EXPECT_EQ(contents.tensors[0].name, "a");
  EXPECT_EQ(contents.tensors[0].shape, std::vector<int64_t>{2});
  EXPECT_EQ(contents.tensors[0].bytes.data(), bytes_of(file).data() + file.size() - 12);
  EXPECT_EQ(contents.tensors[1].bytes.size(), 4U);
}

TEST(ParseSafetensors, RefusesABadHeaderLength) {
  refuses("1234567", "expected at least 8 bytes (the header's length), got 7");
  refuses(std::string("\x01\xe1\xf5\x05\0\0\0\0", 8), "header length 100000001 is over the limit of 100000000 bytes");
  refuses(std::string(8, '\xff'), "header length 18446744073709551615 is over the limit");
  refuses(std::string("\x09\0\0\0\0\0\0\0{}", 10), "expected a header of 9 bytes, but only 2 bytes follow");
  refuses(std::string(8, '\0'), "expected the header to start with '{', got ''");
}

TEST(ParseSafetensors, RefusesAHeaderThatIsNoJsonObject) {
  refuses(file_of("[]"), "expected the header to start with '{', got '['");
  refuses(file_of("{\"a\xff\":1}"), "header is not UTF-8 at byte 3");
  refuses(file_of("{\"a\"}"), "header is not valid JSON at byte 5, near '\\\"a\\\"}'");
  refuses(file_of("{}{}"), "header is not valid JSON at byte 3");
  refuses(file_of(std::string("{}\0\0", 4)), "header holds a NUL byte at byte 2");
  refuses(file_of("{\"a\":" + std::string(100000, '[')), "expected tensor 'a' to be an object, got a list");
}

TEST(ParseSafetensors, RefusesBadMetadata) {
  refuses(file_of(R"({"__metadata__":{"k":1}})"), "expected metadata key 'k' to hold text, got the number 1");
  refuses(file_of(R"({"__metadata__":{"k":{}}})"), "expected metadata key 'k' to hold text, got an object");
  refuses(file_of(R"({"__metadata__":[]})"), "expected __metadata__ to be an object of texts, got a list");
  refuses(file_of(R"({"__metadata__":{},"__metadata__":{}})"), "__metadata__ is given twice");
  refuses(file_of(R"({"__metadata__":{"k":"1","k":"2"}})"), "metadata key 'k' is given twice");
}

TEST(ParseSafetensors, RefusesBadTensorEntries) {
  refuses(file_of(R"({"w":1})"), "expected tensor 'w' to be an object, got the number 1");
  refuses(file_of(R"({"w":{"dtype":"F32","shape":[1]}})"), "tensor 'w' lacks data_offsets");
  refuses(file_of(R"({"w":{"size":4}})"), "tensor 'w' has the unknown key 'size'");
  refuses(file_of(R"({"w":{"shape":[1],"shape":[1]}})"), "tensor 'w' gives shape twice");
  refuses(file_of("{" + f32("w", 1, 0) + "," + f32("w", 1, 4) + "}", "12345678"), "tensor 'w' is in the header twice");
  refuses(file_of(one("\"F33\"", "[1]", "[0,4]"), "1234"), "expected a dtype of F64, F32, F16, BF16, F8_E4M3");
  refuses(file_of(one("\"C64\"", "[1]", "[0,8]"), "12345678"), "got 'C64'", ErrorKind::unsupported);
  refuses(file_of(one("4", "[1]", "[0,4]"), "1234"), "expected tensor 'w': dtype to be text, got the number 4");
}

TEST(ParseSafetensors, RefusesBadShapesAndOffsets) {
  const std::string numbers = "hold whole numbers up to 2^63-1, got ";
  refuses(file_of(one("\"F32\"", "[-1]", "[0,4]")), "expected tensor 'w': shape to " + numbers + "the negative number -1");
  refuses(file_of(one("\"F32\"", "[1.5]", "[0,4]")), "expected tensor 'w': shape to " + numbers + "the number '1.5'");
  refuses(file_of(one("\"F32\"", "[9223372036854775808]", "[0,4]")), numbers + "the number 9223372036854775808");
  refuses(file_of(one("\"F32\"", "[1]", "[0,\"4\"]")), "expected tensor 'w': data_offsets to " + numbers + "the text '4'");
  refuses(file_of(one("\"F32\"", "[1]", "[0,4,8]")), "expected data_offsets to hold 2 numbers, got 3");
  refuses(file_of(one("\"F32\"", "3", "[0,4]")), "expected tensor 'w': shape to be a list of numbers, got the number 3");
  refuses(file_of(one("\"F32\"", "[4294967296, 4294967296]", "[0,4]"), "1234"),
          "tensor 'w': the size of F32 [4294967296, 4294967296] overflows");
  refuses(file_of(one("\"F32\"", "[2, 3]", "[0,20]"), std::string(20, 'x')),
          "tensor 'w': F32 [2, 3] takes 24 bytes, but data_offsets span 20");
}

TEST(ParseSafetensors, RefusesADataSectionWithGapsOrOverlaps) {
  refuses(file_of(one("\"F32\"", "[1]", "[4,0]"), "1234"), "tensor 'w': data_offsets end (0) before they begin (4)");
  refuses(file_of("{" + f32("v", 2, 0) + "," + f32("w", 2, 4) + "}", std::string(12, 'x')), "tensor 'w' overlaps tensor 'v'");
  refuses(file_of("{" + f32("v", 1, 0) + "," + f32("w", 1, 8) + "}", std::string(12, 'x')),
          "4 bytes before tensor 'w' belong to no tensor");
  refuses(file_of("{" + f32("w", 1, 0) + "}", "12345"), "1 bytes after the last tensor belong to no tensor");
  refuses(file_of("{" + f32("w", 2, 0) + "}", "1234567"), "tensor 'w' ends at byte 8 of the data, but there are only 7");
}

TEST(ParseSafetensors, RefusesUnalignedData) {
  const std::string after_byte = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)" + f32("w", 1, 1) + "}";
  refuses(file_of(after_byte, "12345"), "tensor 'w' is unaligned: F32 [1] at byte ");
}

TEST(ParseSafetensors, RefusesNamesThatCouldHarmATerminal) {
  refuses(file_of("{" + f32("a\\u001b[31m", 1, 0) + "}", "1234"), "tensor name 'a\\u001b[31m' holds a control character");
  refuses(file_of("{" + f32("a\\u009b", 1, 0) + "}", "1234"), "tensor name 'a\\u009b' holds a control character");
  refuses(file_of("{" + f32(std::string(1025, 'n'), 1, 0) + "}", "1234"), "is 1025 bytes long, over the limit of 1024");
}

TEST(ParseSafetensors, MessagesStayShortWhateverTheFileHolds) {
  const std::string long_name(1024, 'n'), digits(100000, '7');
  refuses(file_of("{" + f32(long_name, 1, 4) + "}", "12345678"), std::string(80, 'n') + "…' belong to no tensor");
  refuses(file_of(one("\"F32\"", "[1" + digits + "]", "[0,4]")), "7…'");
  std::string ones = "1";
  for (int i = 0; i < 5000; ++i) ones += ",1";
  refuses(file_of(one("\"F32\"", "[" + ones + "]", "[0,8]"), "12345678"), "F32 [1, 1, 1, 1, 1, 1, 1, 1, …] takes 4 bytes");
}

}  // namespace
}  // namespace lowrank::io
