// A vision transformer through the same training as an encoder of texts.
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include "support/class_folders.h"
#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "train/toy.h"

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/adapters/lora.h"
#include "lowrank/data/images/class_folders.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/models/image_model.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/encoder_job.h"
#include "lowrank/train/train.h"

namespace lowrank::train {
namespace {

using test::close;

class PicturesTest : public testing::Test {
 protected:
  void SetUp() override {
    tensor::initialise_runtime(1);
    const Json config = {{"model_type", "vit"},     {"image_size", 16},       {"patch_size", 8},
                         {"hidden_size", 16},       {"num_hidden_layers", 2}, {"num_attention_heads", 2},
                         {"intermediate_size", 32}, {"hidden_act", "gelu"},   {"initializer_range", 0.1}};
    models::save_model(model(), *models::make_fresh(config, {}), folder_ / "none");
    write_file_atomic(model() / "preprocessor_config.json", format_json(models::to_json({.height = 16, .width = 16})));
    test::write_class_folders(folder_ / "set", 14);
    data::DataOptions options;
    options.data = (folder_ / "set").string();
    options.pictures.augment = {.flip = true, .rotate = 10, .shift = 0.1, .brightness = 0.2, .noise = 0.02, .mix = 0.3};
    split_ = data::prepare_pictures(options, {{16, 16}, 5});
  }
  std::filesystem::path model() const { return folder_ / "model"; }

  TrainRequest request(const std::string& method) const {
    TrainRequest request = test::toy_request(model(), split_, method);
    request.options.batch_size = 6;
    if (method == "lora") dynamic_cast<adapters::LoraOptions&>(*request.adapter->options).dropout = 0.1;
    return request;
  }

  test::TempDir folder_;
  data::Split split_;
};

TEST_F(PicturesTest, EveryMethodLearnsAndItsResultLoadsBack) {
  for (const std::string method : {"lora", "dora", "lokr", "full", "none"}) {
    TrainRequest one = request(method);
    one.options.epochs = method == "none" ? 4 : 12;
    one.out = folder_ / method;
    std::vector<double> losses;
    one.metrics = [&](const Json& line) {
      if (line.at("event") == "step") losses.push_back(line.at("loss"));
    };
    const TrainResult result = train(one);
    EXPECT_EQ(result.unit, "pictures");
    EXPECT_EQ(result.units, result.validations.size() * static_cast<size_t>(split_.train.size()));
    EXPECT_LT(losses.back(), (method == "none" ? 1.0 : 0.8) * losses.front()) << method;
    const at::Tensor expected = evaluate::outputs_of(*result.trainee.model, split_.test);
    std::unique_ptr<models::Model> fresh;
    if (result.trainee.adapters) {
      fresh = models::load_model(model(), head_for(split_, 7));
      adapters::load_peft(*fresh, adapters::read_peft(result.saved), fresh->new_modules());
      EXPECT_FALSE(read_json(result.saved / "lowrank.json").contains("max_length"));
    } else {
      fresh = models::load_model(result.saved, models::stored_head(result.saved));
    }
    EXPECT_TRUE(close(evaluate::outputs_of(*fresh, split_.test), expected, 1e-5)) << method;
  }
}

TEST_F(PicturesTest, PartsEndWithTheBytesOfTheWhole) {
  TrainRequest one = request("lora");
  one.out = folder_ / "whole";
  const TrainResult whole = train(one);
  one.out = folder_ / "parts";
  for (const int64_t stop_at : {2, 9}) {
    StopToken stop;
    one.stop = &stop;
    one.metrics = [&](const Json& line) {
      if (line.at("step") == stop_at) stop.request();
    };
    EXPECT_EQ(train(one).outcome, Outcome::cancelled);
    one.resume = true;
  }
  one.stop = nullptr;
  one.metrics = {};
  const TrainResult parts = train(one);
  for (const char* name : {"adapter_model.safetensors", "lowrank.json"})
    EXPECT_EQ(read_file(parts.saved / name), read_file(whole.saved / name));
}

TEST_F(PicturesTest, TheHeadAloneSeesTheChangedPicturesToo) {
  const auto first_losses = [&](bool changed) {
    if (!changed) split_.train.augment = {};
    const TrainRequest one = request("none");
    EncoderJob job(one);
    job.prepare({});
    return std::pair{job.loss({{0, 1, 2, 3}}, 0).item<double>(), job.loss({{0, 1, 2, 3}}, job.steps_per_epoch()).item<double>()};
  };
  const auto changed = first_losses(true), plain = first_losses(false);
  EXPECT_NE(changed.first, changed.second);
  EXPECT_EQ(plain.first, plain.second);
}

TEST_F(PicturesTest, AugmentationAndDropoutDoNotDependOnTheBatch) {
  const TrainRequest one = request("lora");
  EncoderJob job(one);
  const auto loss = [&](std::vector<int64_t> items, int64_t step) { return job.loss({std::move(items)}, step).item<double>(); };
  EXPECT_NEAR(loss({0, 1, 2, 3}, 5), loss({3, 1}, 5) + loss({0, 2}, 5), 1e-5);
  double changed = 0;
  for (int64_t epoch = 1; epoch < 5; ++epoch) {
    changed += std::abs(loss({0, 1, 2, 3}, epoch * job.steps_per_epoch()) - loss({0, 1, 2, 3}, 0));
  }
  EXPECT_GT(changed, 1e-6);
}

TEST_F(PicturesTest, TextsAndPicturesAreNotMixedUp) {
  const data::Split texts = test::toy_split();
  TrainRequest one = request("lora");
  one.split = &texts;
  EXPECT_LOWRANK_ERROR(train(one), ErrorKind::invalid_argument, "expected pictures, which ViTForImageClassification reads, got texts");
  test::write_toy_model(folder_ / "bert");
  one = request("lora");
  one.model = folder_ / "bert";
  EXPECT_LOWRANK_ERROR(train(one), ErrorKind::invalid_argument, "expected texts, which BertForSequenceClassification reads, got pictures");
}

TEST_F(PicturesTest, ThePlanCountsPictures) {
  const MemoryPlan plan = train::plan(request("dora"));
  EXPECT_EQ(plan.unit, "pictures");
  EXPECT_EQ(plan.batch_units, 6);
  EXPECT_GT(plan.activations, 0);
}

}  // namespace
}  // namespace lowrank::train
