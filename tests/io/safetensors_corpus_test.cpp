// The corpus of tools/golden/safetensors_corpus.py: our verdict against the reference's, and replayed as fuzz input.
#include <map>

#include "safetensors_text.h"
#include "support/expect_error.h"

#include "lowrank/base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace lowrank::io {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/io/safetensors";

// Files that the reference reads and we refuse, with our reason. There is none the other way round.
const std::map<std::string, std::string> kStricter{
    {"control_in_name", "names are printed: a control character could drive the terminal"},
    {"nul_in_name", "the same"},
    {"long_name", "no real name has over 1024 bytes"},
    {"dtype_c64", "nothing here computes with it"},
    {"dtype_f4", "the same"},
    {"dtype_f8_e8m0", "the same"},
    {"dtype_object", "the format says text"},
    {"tensor_list", "the format says object"},
    {"duplicate_name", "the format forbids it; readers differ on which one wins"},
    {"duplicate_escaped", "the same name, spelled otherwise"},
    {"metadata_duplicate_key", "the same"},
    {"unknown_key", "nothing is ignored silently"},
    {"leading_space", "the format says that the header begins with '{'"},
    {"shape_over_i64", "dimensions are 64-bit signed everywhere else"},
    {"shape_zero_hides_overflow", "strides would overflow"},
    {"unaligned_header", "elements could not be read in place"},
    {"unaligned_after_byte", "the same"},
};

std::string refusal(const std::filesystem::path& path) {
  try {
    TensorFile::open(path);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(SafetensorsCorpus, AgreesWithTheReferenceButForNamedDifferences) {
  const Json record = read_json(kFolder / "verdicts.json");
  size_t differences = 0;
  for (const auto& [file, verdict] : record.at("verdicts").items()) {
    SCOPED_TRACE(file);
    const bool good = file.starts_with("pass_");
    const std::string refused = refusal(kFolder / file);
    EXPECT_EQ(refused.empty(), good) << refused;
    const std::string name = file.substr(5, file.size() - 5 - std::string_view(".safetensors").size());
    const bool reference_reads = verdict.get<std::string>() == "ok";
    EXPECT_EQ(good != reference_reads, kStricter.contains(name)) << "the reference says: " << verdict;
    EXPECT_FALSE(good && !reference_reads) << "never laxer than the reference";
    differences += good != reference_reads ? 1 : 0;
  }
  EXPECT_EQ(differences, kStricter.size());
  EXPECT_GT(record.at("verdicts").size(), 100U);
}

TEST(SafetensorsCorpus, RefusalsNameTheFileAndStayShort) {
  for (const auto& item : std::filesystem::directory_iterator(kFolder)) {
    const std::string name = item.path().filename().string();
    if (!name.starts_with("fail_")) continue;
    const std::string text = refusal(item.path());
    EXPECT_THAT(text, testing::HasSubstr(name)) << "the message names the file";
    EXPECT_LT(text.size(), 600U) << text;
    EXPECT_EQ(text.find('\x1b'), text.npos) << name;
  }
}

TEST(SafetensorsCorpus, HoldsUnderTheFuzzTargetsLaws) {
  size_t files = 0;
  for (const auto& item : std::filesystem::directory_iterator(kFolder)) {
    if (item.path().extension() != ".safetensors") continue;
    SCOPED_TRACE(item.path().string());
    const MappedFile file(item.path());
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(file.bytes().data()), file.bytes().size());
    ++files;
  }
  EXPECT_GT(files, 100U);
}

TEST(SafetensorsCorpus, EveryCutOfAGoodFileIsRefused) {
  const std::string whole = read_file(kFolder / "written_all_dtypes.safetensors");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(parse_safetensors(bytes_of(whole).first(size), "cut"), Error) << size;
  }
  EXPECT_EQ(parse_safetensors(bytes_of(whole), "whole").tensors.size(), 2 * kDTypeCount);
}

}  // namespace
}  // namespace lowrank::io
