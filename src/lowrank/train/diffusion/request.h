// A training run of a Stable Diffusion model, as a program asks for it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lowrank/adapters/config.h"
#include "lowrank/data/images/image_set.h"
#include "lowrank/train/diffusion/options.h"
#include "lowrank/train/diffusion/text_states.h"
#include "lowrank/train/run_request.h"

namespace lowrank::train {

struct DiffusionRequest : RunRequest {
  std::filesystem::path model;                     // a diffusers folder or an original checkpoint
  std::string method = "lora";                     // a method of adapters.def, or full: all of the UNet
  std::optional<adapters::AdapterConfig> adapter;  // of `method`; absent: its default with default_targets()
  DiffusionTrainOptions diffusion;
  std::vector<ClipTokens> tokens;              // one a text encoder, or one for all
  std::filesystem::path tokenizer;             // folder, for samples; empty: the model's own
  const data::ImageSet* pictures = nullptr;    // must outlive the run, as the next
  const data::ImageSet* validation = nullptr;  // null: a share of `pictures` is held out
};

/// What kohya's sd-scripts adapt: the layers of the UNet's transformers, their 1×1 convolutions included.
std::vector<std::string> default_targets();

}  // namespace lowrank::train
