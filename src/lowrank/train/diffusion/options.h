// What a user says about training a diffusion model, beside what all training has and what belongs to pictures, losses and adapters.
#pragma once

#include <string>
#include <vector>

#include "lowrank/base/options.h"
#include "lowrank/data/images/options.h"
#include "lowrank/diffusion/options.h"

namespace lowrank::train {

/// Pictures drawn while training runs; the names are those of `lowrank sample`.
struct SampleGridOptions {
  std::vector<std::string> prompts;
  std::string prompt_file;
  int64_t every = 200;  // steps
  std::string negative;
  int64_t steps = 25, seed = 0;
  std::string sampler = "auto", size;
  double cfg = 7;

  bool is_on() const { return every > 0 && !(prompts.empty() && prompt_file.empty()); }
};

struct DiffusionTrainOptions {
  data::ImageDataOptions pictures;
  diffusion::DiffusionOptions diffusion;

  std::string latents = "sampled";
  double prior_weight = 1;
  int64_t clip_skip = 0, prompt_windows = 0;
  double text_encoder_learning_rate = 0;
  double validation_fraction = 0.1;
  std::string validation_images;
  int64_t validation_bands = 4;
  bool recompute = false;
  std::string save_as = "auto";
  std::string cache;
  SampleGridOptions samples;
};

/// Adds the groups of pictures, captions, loss, noise and timesteps, "Diffusion" and "Samples", to `table`.
void declare(OptionTable& table, DiffusionTrainOptions& options);

/// The options that decide the numbers.
Json numeric_options(const DiffusionTrainOptions& options);

}  // namespace lowrank::train
