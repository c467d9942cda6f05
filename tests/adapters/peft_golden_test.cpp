// Folders that PEFT wrote: read, attached, compared with PEFT's own merged weights, written again, read back. Set
// LOWRANK_PEFT_OUT=DIR to keep what is written for `tools/golden/peft_folders.py --check DIR`.
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <cstdlib>

#include "adapters/tiny_bert.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/adapters/targets.h"
#include "lowrank/base/file.h"

namespace lowrank::adapters {
namespace {

using test::kGoldens;
using test::tiny_bert;
namespace fs = std::filesystem;

std::vector<std::string> cases() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kGoldens)) {
    if (fs::exists(entry.path() / "adapter_config.json")) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

tensor::TensorMap heads_of(torch::nn::Module& model, const PeftFolder& folder) {
  tensor::TensorMap heads;
  for (const auto& entry : model.named_parameters()) {
    if (is_within(entry.key(), folder.context.modules_to_save)) heads[entry.key()] = entry.value();
  }
  return heads;
}

class PeftGolden : public testing::TestWithParam<std::string> {
 protected:
  fs::path out(const std::string& name) const {
    const char* keep = std::getenv("LOWRANK_PEFT_OUT");
    const fs::path path = (keep == nullptr ? temporary_.path() : fs::path(keep)) / name;
    fs::create_directories(path);
    return path;
  }
  lowrank::test::TempDir temporary_;
  fs::path golden_ = kGoldens / GetParam();
  std::shared_ptr<torch::nn::Module> model_ = tiny_bert();
  PeftFolder folder_ = read_peft(golden_);
};

TEST_P(PeftGolden, AdaptedWeightsAreWhatPeftMerges) {
  const AdapterSet set = load_peft(*model_, folder_, {});
  const auto expected = tensor::load_tensors(golden_ / "expected.safetensors");
  size_t compared = 0;
  for (const auto& entry : set.modules) {
    entry.host->merge();
    const at::Tensor& theirs = expected.at(entry.module + ".weight");
    const double gap = (entry.host->weight() - theirs).abs().max().item<double>() / theirs.abs().max().item<double>();
    EXPECT_LT(gap, 1e-6) << entry.module;
    entry.host->unmerge();
    ++compared;
  }
  EXPECT_EQ(compared, expected.size() - 2);  // logits and input_ids besides
}

TEST_P(PeftGolden, HeadsAndBiasesAreTheFiles) {
  const AdapterSet set = load_peft(*model_, folder_, {});
  for (const auto& [name, value] : heads_of(*model_, folder_)) EXPECT_TRUE(at::equal(value, folder_.tensors.at(name))) << name;
  for (const auto& [name, value] : set.biases) EXPECT_TRUE(at::equal(value, folder_.tensors.at(name))) << name;
  EXPECT_EQ(set.biases.empty(), folder_.config.bias == "none");
}

TEST_P(PeftGolden, WrittenAgainIsTheSameFolder) {
  const AdapterSet set = load_peft(*model_, folder_, {});
  const auto heads = heads_of(*model_, folder_);
  const fs::path folder = out(GetParam());
  write_peft(folder, set, heads, folder_.context);
  EXPECT_LT(verify_peft(folder, set, heads), 1e-6);

  Json ours = read_json(folder / "adapter_config.json"), theirs = read_json(golden_ / "adapter_config.json");
  for (const auto& [key, value] : theirs.items()) EXPECT_EQ(ours[key], value) << key;
  EXPECT_EQ(ours.size(), theirs.size());
  if (GetParam() == "lora_bias_all_head") {  // PEFT's copies of the head's bias, which it cannot read back, are left out
    EXPECT_EQ(tensor::load_tensors(folder / "adapter_model.safetensors").size() + 2,
              tensor::load_tensors(golden_ / "adapter_model.safetensors").size());
  } else {
    EXPECT_EQ(read_file(folder / "adapter_model.safetensors"), read_file(golden_ / "adapter_model.safetensors"));
  }
}

TEST_P(PeftGolden, ReadAgainWithLowrankJsonIsTheSameConfiguration) {
  const AdapterSet set = load_peft(*model_, folder_, {});
  PeftContext context = folder_.context;
  context.notes["labels"] = {"a", "b"};
  write_peft(temporary_.path(), set, heads_of(*model_, folder_), context);
  const PeftFolder again = read_peft(temporary_.path());
  EXPECT_EQ(again.config.to_json(), folder_.config.to_json());
  EXPECT_EQ(again.context.notes, context.notes);
  EXPECT_EQ(again.context.kept, folder_.context.kept);
  EXPECT_EQ(load_peft(*tiny_bert(), again, {}).modules.size(), set.modules.size());
}

INSTANTIATE_TEST_SUITE_P(Folders, PeftGolden, testing::ValuesIn(cases()), [](const auto& instance) { return instance.param; });

TEST(PeftGoldens, CoverEveryMethod) {
  std::set<std::string_view> seen;
  for (const auto& name : cases()) seen.insert(read_peft(kGoldens / name).config.method->name());
  for (const Method* method : methods())
    EXPECT_TRUE(seen.contains(method->name())) << method->name() << ": no golden folder of the reference";
}

}  // namespace
}  // namespace lowrank::adapters
