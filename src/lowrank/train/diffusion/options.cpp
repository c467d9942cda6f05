#include "lowrank/train/diffusion/options.h"

#include "lowrank/adapters/dialects/dialect.h"
#include "lowrank/diffusion/sampler.h"

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

void declare_samples(OptionTable& table, SampleGridOptions& options) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Samples");
  };
  std::vector<std::string> samplers{"auto"};
  for (const auto* kind : diffusion::sampler_kinds()) samplers.emplace_back(kind->name);
  add("sample-prompt", options.prompts, "draw this while training runs; may be given several times").lines();
  add("sample-prompts", options.prompt_file, "file with a prompt a line, # before a comment; they follow those of --sample-prompt");
  add("sample-every", options.every, "steps between drawings; the first is before training, the last at its end; 0: none").range(0, 1e12);
  add("sample-negative", options.negative, "what to keep away from");
  add("sample-steps", options.steps, "model calls a picture").range(1, 1e6);
  add("sample-sampler", options.sampler, "auto: the one in the model's scheduler_config.json").choices(samplers);
  add("sample-cfg", options.cfg, "how much the prompt is followed; 1: without a negative prompt, twice as fast").range(0, 100);
  add("sample-seed", options.seed, "of every picture, at every step").range(0, 9e15);
  add("sample-size", options.size, "a side, or WIDTHxHEIGHT; empty: as --resolution");
}

}  // namespace

void declare(OptionTable& table, DiffusionTrainOptions& options) {
  data::declare(table, options.pictures);
  diffusion::declare(table, options.diffusion);
  declare_own(table, options);
  declare_samples(table, options.samples);
}

Json numeric_options(const DiffusionTrainOptions& options) {
  DiffusionTrainOptions copy = options;
  Json result = resolved(copy);
  for (const char* key : {"save-as", "cache", "recompute", "images", "prior-images", "validation-images", "masks"}) result.erase(key);
  OptionTable samples;
  declare_samples(samples, copy.samples);
  for (const Option& option : samples.options()) result.erase(option.name());
  return result;
}

}  // namespace lowrank::train
