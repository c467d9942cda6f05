// A run that trains a tiny Stable Diffusion model on ten captioned pictures.
#pragma once

#include <gtest/gtest.h>

#include "support/temp_dir.h"
#include "train/tiny_pipeline.h"

#include "lowrank/train/diffusion/job.h"
#include "lowrank/train/trainer.h"

namespace lowrank::test {

class DiffusionRun : public ::testing::Test {
 protected:
  DiffusionRun() {
    use("sd15");
    write_tiny_pictures(folder_ / "pictures", 10);
    read_pictures();
  }

  void use(const std::string& kind) {
    model_ = folder_ / kind;
    models::save_diffusers(model_, tiny_pipeline(kind));
  }
  void read_pictures() {
    request_pictures_ = tiny_picture_options(folder_ / "pictures");
    set_ = data::read_image_set(request_pictures_);
  }

  train::DiffusionRequest request(const std::string& out, const std::string& method = "lora") {
    train::DiffusionRequest request;
    request.options = {.learning_rate = 0.01, .epochs = 2, .batch_size = 2, .dtype = "float32", .device = test_device_name()};
    request.out = out.empty() ? std::filesystem::path() : folder_ / out;
    request.model = model_;
    request.method = method;
    if (method != "full") {
      request.adapter = adapters::make_config(method);
      request.adapter->rank = 2;
      request.adapter->alpha = 2;
      request.adapter->target_modules = train::default_targets();
    }
    request.diffusion.pictures = request_pictures_;
    request.diffusion.cache = folder_ / "cache";  // all runs of a test share it
    request.tokens = {letter_tokens()};
    request.pictures = &set_;
    return request;
  }
  train::RunResult train(const train::DiffusionRequest& request) {
    const auto folder = train::open_folder(request);
    train::DiffusionJob job(request);
    return train::run(job, request, folder.get());
  }

  TempDir folder_;
  std::filesystem::path model_;
  data::ImageDataOptions request_pictures_;
  data::ImageSet set_;
};

inline at::Tensor flat(const std::filesystem::path& file) {
  std::vector<at::Tensor> parts;
  for (const auto& [name, value] : tensor::load_tensors(file)) parts.push_back(value.flatten());
  return at::cat(parts);
}

}  // namespace lowrank::test
