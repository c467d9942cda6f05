#include "lowrank/train/diffusion/options.h"

#include "lowrank/adapters/dialects/dialect.h"

namespace lowrank::train {

namespace {

void declare_own(OptionTable& table, DiffusionTrainOptions& options) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Diffusion");
  };
  std::vector<std::string> dialects = {"auto"};
  for (const auto* dialect : adapters::dialects()) dialects.emplace_back(dialect->name());
  add("latents", options.latents, "a picture's latents: drawn anew at each step, or their mean").choices({"sampled", "mean"});
  add("prior-weight", options.prior_weight, "weight of pictures in --prior-images beside the others").range(0, 1000);
  add("clip-skip", options.clip_skip, "layers of the text encoder left out at the end; SDXL has its own").range(0, 11);
  add("prompt-windows", options.prompt_windows, "windows of 75 tokens a caption has; 0: as many as the longest needs").range(0, 8);
  add("text-encoder-learning-rate", options.text_encoder_learning_rate, "train the text encoders too, at this rate; 0: not").range(0, 10);
  add("validation-fraction", options.validation_fraction, "share of the pictures held out to validate on").range(0, 0.9);
  add("validation-images", options.validation_images, "folder of pictures to validate on, in place of a share");
  add("validation-bands", options.validation_bands, "equal parts of the timesteps, each with a loss of its own").range(1, 100);
  add("recompute", options.recompute, "run layers again in the backward pass: slower, in less memory");
  add("save-as", options.save_as, "naming of the adapter's file; auto: kohya, or what has names for the method").choices(dialects);
  add("cache", options.cache, "folder of latents and text states, which runs may share; empty: cache in --out");
}

}  // namespace

void declare(OptionTable& table, DiffusionTrainOptions& options) {
  data::declare(table, options.pictures);
  diffusion::declare(table, options.diffusion);
  declare_own(table, options);
}

Json numeric_options(const DiffusionTrainOptions& options) {
  DiffusionTrainOptions copy = options;
  OptionTable table;
  declare(table, copy);
  Json result = table.resolved();
  for (const char* key : {"save-as", "cache", "recompute", "images", "prior-images", "validation-images", "masks"}) result.erase(key);
  return result;
}

}  // namespace lowrank::train
