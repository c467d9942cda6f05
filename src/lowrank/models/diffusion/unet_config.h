// config.json of diffusers' UNet2DConditionModel.
#pragma once

#include "lowrank/base/json.h"
#include "lowrank/models/diffusion/transformer_2d.h"

namespace lowrank::models {

/// One resolution of the UNet, as its down block sees it; the up block of the same channels has one residual layer more.
struct UNetLevel {
  int64_t channels = 0, layers = 2;
  TransformerOptions transformer;
};

struct UNetConfig {
  int64_t in = 4, out = 4;
  std::vector<UNetLevel> levels;
  std::vector<bool> down_attends, up_attends;  // whether block i has transformers; up blocks are counted from the narrow end
  int64_t groups = 32;
  double epsilon = 1e-5;
  bool cosine_first = true;
  int64_t frequency_shift = 0;
  /// SDXL's text_time conditions: width of one time id's embedding, and of all of them with the pooled text. 0: none.
  int64_t added_time_width = 0, added_width = 0;

  int64_t time_width() const { return 4 * levels.front().channels; }
};

/// Throws what ComponentConfig::finish throws.
UNetConfig read_unet_config(const Json& config, const std::string& where);

}  // namespace lowrank::models
