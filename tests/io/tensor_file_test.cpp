#include "lowrank/io/tensor_file.h"

#include "safetensors_text.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/log.h"

namespace lowrank::io {
namespace {

const std::string kOne(4, 'x');

void write_tensors(const std::filesystem::path& path, const std::vector<std::string>& names, const Metadata& metadata = {}) {
  std::vector<TensorOut> tensors;
  for (const auto& name : names) tensors.push_back({name, DType::f32, {1}, bytes_of(kOne)});
  write_safetensors(path, std::move(tensors), metadata);
}

void refuses(const std::filesystem::path& path, ErrorKind kind, const std::string& sentence) {
  SCOPED_TRACE(path.string());
  EXPECT_LOWRANK_ERROR(TensorFile::open(path), kind, sentence);
}

TEST(TensorFile, FindsByNameAndListsNearMisses) {
  const test::TempDir dir;
  write_tensors(dir / "x", {"layer.10.weight", "layer.1.weight", "bias"});
  const TensorFile file = TensorFile::open(dir / "x");
  EXPECT_EQ(file.tensors()[0].name, "bias");
  EXPECT_EQ(file.find("layer.2.weight"), nullptr);
  EXPECT_EQ(file.find(""), nullptr);
  EXPECT_EQ(file.find("zzz"), nullptr);
  EXPECT_EQ(file.at("layer.10.weight").name, "layer.10.weight");
  EXPECT_LOWRANK_ERROR(file.at("layer.1.weigth"), ErrorKind::file_format, "no tensor 'layer.1.weigth', did you mean 'layer.1.weight'");
}

TEST(TensorFile, ViewsOutliveAMove) {
  const test::TempDir dir;
  write_tensors(dir / "x", {"w"});
  TensorFile first = TensorFile::open(dir / "x");
  const std::byte* data = first.at("w").bytes.data();
  const TensorFile second = std::move(first);
  EXPECT_EQ(second.at("w").bytes.data(), data);
  EXPECT_EQ(data[0], std::byte{'x'});
}

TEST(TensorFile, IsKnownByItsBytesNotItsName) {
  const test::TempDir dir;
  write_tensors(dir / "model.bin", {"w"});
  EXPECT_EQ(TensorFile::open(dir / "model.bin").tensors().size(), 1U);
  // A header of 640 bytes gives a length that begins like a pickle.
  write_file_atomic(dir / "long", file_of("{" + f32("w", 1, 0) + std::string(580, ' ') + "}", kOne));
  EXPECT_EQ(read_file(dir / "long").substr(0, 2), "\x80\x02");
  EXPECT_EQ(TensorFile::open(dir / "long").tensors().size(), 1U);
}

TEST(TensorFile, SaysWhatAForeignFileIs) {
  const test::TempDir dir;
  const auto make = [&](const std::string& text) {
    write_file_atomic(dir / "model.safetensors", text);
    return dir / "model.safetensors";
  };
  refuses(make("PK\x03\x04 archive/data.pkl"), ErrorKind::unsupported, "a zip archive (a PyTorch pickle?)");
  refuses(make("\x80\x02}q\x01."), ErrorKind::unsupported, "pickles run code when read, so they are never read");
  refuses(make("version https://git-lfs.github.com/spec/v1\n"), ErrorKind::unsupported, "git lfs pull");
  refuses(make("<!DOCTYPE html>"), ErrorKind::unsupported, "a web page");
  refuses(make("a text of some length"), ErrorKind::file_format, "is this a safetensors file at all?");
  refuses(dir / "absent", ErrorKind::io, "No such file");
}

TEST(TensorFile, FolderNeedsAModelFile) {
  const test::TempDir dir;
  refuses(dir.path(), ErrorKind::io, "expected model.safetensors or model.safetensors.index.json, got an empty folder");
  write_file_atomic(dir / "config.json", "{}");
  refuses(dir.path(), ErrorKind::io, "got config.json");
  write_file_atomic(dir / "pytorch_model.bin", "x");
  refuses(dir.path(), ErrorKind::io, "got config.json, pytorch_model.bin\n  hint: pickles run code when read");
  write_tensors(dir / "model.safetensors", {"w"});
  EXPECT_EQ(TensorFile::open(dir.path()).path(), dir / "model.safetensors");
}

class Shards : public testing::Test {
 protected:
  void SetUp() override {
    write_tensors(dir_ / "a.safetensors", {"w1", "w3"}, {{"format", "pt"}, {"part", "1"}});
    write_tensors(dir_ / "b.safetensors", {"w2"}, {{"format", "pt"}, {"part", "2"}});
  }
  void TearDown() override { set_log_sink({}); }

  std::filesystem::path index(const std::string& map) {
    write_file_atomic(dir_ / "model.safetensors.index.json", R"({"metadata":{"total_size":12},"weight_map":{)" + map + "}}");
    return dir_.path();
  }
  void refuses_index(const std::string& map, const std::string& sentence) { refuses(index(map), ErrorKind::file_format, sentence); }

  const std::string good_ = R"("w1":"a.safetensors","w2":"b.safetensors","w3":"a.safetensors")";
  test::TempDir dir_;
};

TEST_F(Shards, AreSeenAsOneFile) {
  std::string warning;
  set_log_sink([&](LogLevel, std::string_view, std::string_view text) { warning += text; });
  const TensorFile file = TensorFile::open(index(good_));
  ASSERT_EQ(file.tensors().size(), 3U);
  EXPECT_EQ(file.tensors()[1].name, "w2");
  EXPECT_EQ(file.at("w2").bytes[0], std::byte{'x'});
  EXPECT_EQ(file.metadata(), (Metadata{{"format", "pt"}}));
  EXPECT_THAT(warning, testing::HasSubstr("shards differ in metadata 'part', which is left out"));
}

TEST_F(Shards, MustLieInTheIndexsFolder) {
  refuses_index(R"("w1":"../a.safetensors")", "shard '../a.safetensors' lies outside the index's folder");
  refuses_index(R"("w1":"/etc/passwd")", "shard '/etc/passwd' lies outside");
  refuses_index(R"("w1":"x/../../a.safetensors")", "lies outside");
  refuses_index(R"("w1":"")", "shard '' lies outside");
}

TEST_F(Shards, MustExistAndBeGood) {
  refuses_index(good_ + R"(,"w4":"c.safetensors")", "shard 'c.safetensors' is missing");
  refuses_index(R"("w1":1)", "weight_map 'w1': expected the name of a shard file, got '1'");
  write_file_atomic(dir_ / "b.safetensors", "bad");
  refuses_index(good_, "b.safetensors] expected at least 8 bytes");
}

TEST_F(Shards, MustAgreeWithTheIndex) {
  refuses_index(good_ + R"(,"w4":"b.safetensors")", "tensor 'w4' is not in shard 'b.safetensors', where the index puts it");
  refuses_index(R"("w1":"a.safetensors","w2":"b.safetensors")", "tensor 'w3' of shard 'a.safetensors' is not in the index");
  write_tensors(dir_ / "b.safetensors", {"w1", "w2"});
  refuses_index(good_, "tensor 'w1' is in more than one shard: a.safetensors, b.safetensors");
}

TEST_F(Shards, IndexMustHaveAWeightMap) {
  const auto path = dir_ / "x.index.json";
  for (const std::string text : {"[]", "{}", R"({"weight_map":[]})"}) {
    write_file_atomic(path, text);
    refuses(path, ErrorKind::file_format, "weight_map");
  }
  write_file_atomic(path, R"({"weight_map":{)" + good_ + R"(},"shards":2})");
  refuses(path, ErrorKind::file_format, "unknown key 'shards'");
  write_file_atomic(path, R"({"weight_map":{"w1":"a.safetensors","w1":"b.safetensors"}})");
  refuses(path, ErrorKind::file_format, "duplicate key 'w1'");
}

}  // namespace
}  // namespace lowrank::io
