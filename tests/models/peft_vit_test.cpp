// Adapters on a ViT, as PEFT writes them: read, the same weights and logits, written again, the same bytes. Set
// LOWRANK_PEFT_VIT_OUT=DIR to keep what is written for `tools/golden/peft_folders.py --family vit --check DIR`.
#include <cstdlib>

#include "models/support.h"

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/models/image_model.h"

namespace lowrank::models {

namespace {

const fs::path kFolders = fs::path(LOWRANK_SOURCE_DIR) / "tests/golden/peft_vit";

class PeftVit : public ::testing::TestWithParam<const char*> {
 protected:
  fs::path out() const {
    const char* keep = std::getenv("LOWRANK_PEFT_VIT_OUT");
    const fs::path path = (keep == nullptr ? temporary_.path() : fs::path(keep)) / GetParam();
    fs::create_directories(path);
    return path;
  }

  test::TempDir temporary_;
  fs::path golden_ = kFolders / GetParam();
  std::unique_ptr<ImageModel> model_ = load_image_model(kFolders / "base", stored_head(kFolders / "base"));
  adapters::PeftFolder folder_ = adapters::read_peft(golden_);
  adapters::AdapterSet set_ = adapters::load_peft(*model_, folder_, model_->new_modules());
};

}  // namespace

TEST_P(PeftVit, WeightsAndLogitsAreWhatPeftHas) {
  const at::NoGradGuard no_grad;
  const auto expected = tensor::load_tensors(golden_ / "expected.safetensors");
  const nn::Pictures pictures{expected.at("pixel_values"), {}};
  EXPECT_LT(difference(model_->logits(pictures), expected.at("logits")), 1e-5);
  for (const auto& entry : set_.modules) {
    entry.host->merge();
    EXPECT_LT(difference(entry.host->weight(), expected.at(entry.module + ".weight")), 1e-6) << entry.module;
  }
  EXPECT_EQ(set_.modules.size() + 2, expected.size());
  EXPECT_LT(difference(model_->logits(pictures), expected.at("logits")), 1e-5);
}

TEST_P(PeftVit, WrittenAgainIsTheSameFolder) {
  tensor::TensorMap heads;
  for (const auto& parameter : model_->named_parameters()) {
    if (parameter.key().starts_with("classifier.")) heads[parameter.key()] = parameter.value();
  }
  EXPECT_TRUE(heads.at("classifier.weight").equal(folder_.tensors.at("classifier.weight")));
  const fs::path folder = out();
  adapters::write_peft(folder, set_, heads, folder_.context);
  EXPECT_LT(adapters::verify_peft(folder, set_, heads), 1e-6);
  EXPECT_EQ(read_file(folder / "adapter_model.safetensors"), read_file(golden_ / "adapter_model.safetensors"));
  const Json ours = read_json(folder / "adapter_config.json"), theirs = read_json(golden_ / "adapter_config.json");
  for (const auto& [key, value] : theirs.items()) EXPECT_EQ(ours[key], value) << key;
}

TEST(PeftVitOfFormerNames, IsRefusedByName) {
  const test::TempDir folder;
  tensor::TensorMap former;
  for (const auto& [present, value] : tensor::load_tensors(kFolders / "lora/adapter_model.safetensors")) {
    std::string name = present;
    for (const auto& [now, then] :
         {std::pair{"vit.layers.", "vit.encoder.layer."}, std::pair{"q_proj", "attention.query"}, std::pair{"v_proj", "attention.value"}}) {
      if (const auto at = name.find(now); at != std::string::npos) name.replace(at, std::string_view(now).size(), then);
    }
    former[name] = value;
  }
  tensor::save_tensors(folder / "adapter_model.safetensors", former, {{"format", "pt"}});
  Json config = read_json(kFolders / "lora/adapter_config.json");
  config["target_modules"] = {"query", "value"};
  write_file_atomic(folder / "adapter_config.json", format_json(config));
  const auto model = load_image_model(kFolders / "base", stored_head(kFolders / "base"));
  EXPECT_LOWRANK_ERROR(adapters::load_peft(*model, adapters::read_peft(folder.path()), {}), ErrorKind::invalid_argument, "query");
}

INSTANTIATE_TEST_SUITE_P(Methods, PeftVit, ::testing::Values("lora", "dora", "lokr"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace lowrank::models
