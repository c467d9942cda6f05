// Adapter files of LyCORIS, diffusers, PEFT and in kohya's naming (tools/golden/dialects.py): each is read and means what the
// program that wrote it computes, is written again in its own dialect, and converted to every other one or refused.
#include <algorithm>

#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/fixed_init.h"
#include "support/temp_dir.h"

#include "lowrank/adapters/dialects/convert.h"
#include "lowrank/adapters/dialects/kohya_metadata.h"
#include "lowrank/base/hash.h"

namespace lowrank::adapters {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = fs::path(LOWRANK_SOURCE_DIR) / "tests" / "golden" / "dialects";

std::vector<std::string> cases() {
  constexpr std::string_view kEnd = ".expected.safetensors";
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kGoldens)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(kEnd)) names.push_back(name.substr(0, name.size() - kEnd.size()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

fs::path path_of(const std::string& name) {
  const fs::path file = kGoldens / (name + ".safetensors");
  return fs::exists(file) ? file : kGoldens / name;
}

at::Tensor rows(const at::Tensor& t) { return (t.dim() > 1 ? t.flatten(1) : t.unsqueeze(1)).to(at::kDouble); }

// What two records mean, in float64; a target may hold it in other tensors.
void expect_same_meaning(const AdapterRecord& one, const AdapterRecord& other, double tolerance) {
  ASSERT_EQ(one.modules.size(), other.modules.size());
  for (size_t i = 0; i < one.modules.size(); ++i) {
    const ModuleRecord &a = one.modules[i], &b = other.modules[i];
    ASSERT_EQ(a.name(), b.name());
    EXPECT_EQ(a.axis, b.axis) << a.name();
    const at::Tensor before = delta(a), after = delta(b);
    ASSERT_EQ(before.sizes(), after.sizes()) << a.name();
    EXPECT_LE((before - after).norm().item<double>(), tolerance * before.norm().item<double>()) << a.name();
    if (a.axis == MagnitudeAxis::none) continue;
    EXPECT_TRUE(at::equal(a.tensors.at("lora_magnitude_vector").flatten(), b.tensors.at("lora_magnitude_vector").flatten())) << a.name();
  }
}

class DialectGolden : public testing::TestWithParam<std::string> {
 protected:
  lowrank::test::TempDir temporary_;
  ReadAdapter read_ = read_adapter(path_of(GetParam()));
};

TEST_P(DialectGolden, MeansWhatItsWriterComputes) {
  EXPECT_TRUE(GetParam().starts_with(read_.dialect->name()) || GetParam().starts_with("lycoris_locon") || GetParam() == "lycoris_dora" ||
              GetParam() == "lycoris_dora_input")
      << read_.dialect->name();
  EXPECT_TRUE(read_.record.unknown.empty());
  auto expected = tensor::load_tensors(kGoldens / (GetParam() + ".expected.safetensors"));
  for (const auto& module : read_.record.modules) {
    const auto theirs = expected.find(module.name());
    ASSERT_NE(theirs, expected.end()) << module.name();
    at::Tensor ours = delta(module);
    if (const auto base = expected.find(module.name() + ".base"); base != expected.end()) {
      ours = adapted(module, base->second) - rows(base->second);
      expected.erase(base);
    } else {
      EXPECT_EQ(module.axis, MagnitudeAxis::none);
    }
    const double size = theirs->second.abs().max().item<double>();
    EXPECT_NEAR(update_norm(module), delta(module).norm().item<double>(), 1e-9 * (1 + update_norm(module))) << module.name();
    EXPECT_LT((ours - rows(theirs->second)).abs().max().item<double>(), 2e-6 * std::max(size, 1.0)) << module.name();
    expected.erase(theirs);
  }
  EXPECT_TRUE(expected.empty()) << expected.size() << " layers were not read, such as " << expected.begin()->first;
}

TEST_P(DialectGolden, WrittenAgainHasTheSameTensors) {
  const fs::path out = temporary_ / "again.safetensors";
  AdapterRecord record = read_.record;
  save_adapter(out, *read_.dialect, record, {});
  const AdapterRecord again = read_adapter(out).record;
  ASSERT_EQ(again.modules.size(), record.modules.size());
  for (size_t i = 0; i < record.modules.size(); ++i) {
    const ModuleRecord &a = read_.record.modules[i], &b = again.modules[i];
    ASSERT_EQ(a.tensors.size(), b.tensors.size());
    for (const auto& [name, value] : a.tensors) EXPECT_TRUE(at::equal(value, b.tensors.at(name))) << a.name() << " " << name;
    EXPECT_DOUBLE_EQ(a.scale(), b.scale()) << a.name();
  }
}

// Which conversions exist: everything else is refused.
bool expected_to_convert(const std::string& name, std::string_view target) {
  if (target == "lycoris") return true;
  return name != "lycoris_full" && name != "lycoris_dora_input";
}

TEST_P(DialectGolden, ConvertsExactlyOrIsRefused) {
  for (const Dialect* target : dialects()) {
    AdapterRecord record = read_.record;
    SCOPED_TRACE(target->name());
    if (!expected_to_convert(GetParam(), target->name())) {
      EXPECT_LOWRANK_ERROR(fit_to(record, *target, {}), ErrorKind::unsupported, record.modules.front().name());
      continue;
    }
    for (const auto& change : fit_to(record, *target, {})) {
      EXPECT_LT(change.error, 1e-6) << change.module << " " << change.what;
      EXPECT_FALSE(change.lossy);
    }
    const fs::path out = temporary_ / std::string(target->name());
    save_adapter(out, *target, record, {});
    expect_same_meaning(read_.record, read_adapter(out).record, 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, DialectGolden, testing::ValuesIn(cases()), [](const auto& instance) { return instance.param; });

TEST(DialectGoldens, CoverEveryDialectAndForm) {
  std::set<std::string_view> dialects_seen;
  std::set<std::string> methods;
  for (const auto& name : cases()) {
    const ReadAdapter read = read_adapter(path_of(name));
    dialects_seen.insert(read.dialect->name());
    for (const auto& module : read.record.modules) methods.insert(module.method());
  }
  for (const Dialect* dialect : dialects()) EXPECT_TRUE(dialects_seen.contains(dialect->name())) << dialect->name();
  for (const auto* method : {"LoRA", "LoCon", "LoCon (Tucker)", "LoHa", "LoHa (Tucker)", "LoKr", "LoKr (Tucker)", "DoRA",
                             "DoRA, input axis", "DoRA on LoCon", "DoRA on LoKr", "full difference"})
    EXPECT_TRUE(methods.contains(method)) << method;
}

TEST(KohyaHashes, AreThoseOfTheReferenceSerialisation) {
  const Json golden = read_json(kGoldens / "hashes.json");
  for (const auto* name : {"kohya_sd15", "kohya_sdxl"}) {
    const AdapterRecord record = read_adapter(path_of(name)).record;
    const KohyaHashes ours = kohya_hashes(tensor::load_tensors(path_of(name)), record.metadata);
    EXPECT_EQ(ours.model, golden[name]["model"].get<std::string>());
    EXPECT_EQ(ours.legacy, golden[name]["legacy"].get<std::string>());
    EXPECT_EQ(ours.model, record.metadata.at("sshs_model_hash"));
  }
  const tensor::TensorMap large = {{"b.weight", lowrank::test::fixed({700, 500}, 3, 1.0, at::kFloat)},
                                   {"a.alpha", at::full({}, 8.0, at::kFloat)},
                                   {"c.weight", lowrank::test::fixed({64}, 5, 1.0, at::kFloat).to(at::kHalf)}};
  const KohyaHashes ours = kohya_hashes(large, {{"ss_v2", "False"}, {"ss_network_dim", "8"}, {"modelspec.title", "not hashed"}});
  EXPECT_EQ(ours.model, golden["large"]["model"].get<std::string>());
  EXPECT_EQ(ours.legacy, golden["large"]["legacy"].get<std::string>());
  EXPECT_NE(ours.legacy, sha256_hex("").substr(0, 8));  // the window lies inside this one
}

TEST(Layouts, AreDiffusersLayersByNameAndSize) {
  const Json golden = read_json(kGoldens / "layouts.json");
  for (const ModelLayout* layout : {&sd15_layout(), &sdxl_layout()}) {
    std::vector<std::string> lines;
    for (const auto& m : layout->modules) lines.push_back(fmt::format("{}.{} {} {} {}", m.component, m.path, m.out, m.columns, m.kernel));
    std::sort(lines.begin(), lines.end());
    EXPECT_EQ(lines.size(), golden[layout->name]["layers"].get<size_t>());
    EXPECT_EQ(sha256_hex(fmt::format("{}", fmt::join(lines, "\n"))), golden[layout->name]["sha256"].get<std::string>());
  }
}

}  // namespace
}  // namespace lowrank::adapters
