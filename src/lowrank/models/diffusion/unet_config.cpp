#include "lowrank/models/diffusion/unet_config.h"

#include "lowrank/models/diffusion/component_config.h"

namespace lowrank::models {

namespace {

const Json& only_defaults() {
  static const Json defaults = Json::parse(R"({
    "center_input_sample": false, "mid_block_type": "UNetMidBlock2DCrossAttn", "only_cross_attention": false,
    "downsample_padding": 1, "mid_block_scale_factor": 1, "dropout": 0, "act_fn": "silu",
    "reverse_transformer_layers_per_block": null, "encoder_hid_dim": null, "encoder_hid_dim_type": null,
    "num_attention_heads": null, "dual_cross_attention": false, "class_embed_type": null, "num_class_embeds": null,
    "upcast_attention": false, "resnet_time_scale_shift": "default", "resnet_skip_time_act": false,
    "resnet_out_scale_factor": 1, "time_embedding_type": "positional", "time_embedding_dim": null,
    "time_embedding_act_fn": null, "timestep_post_act": null, "time_cond_proj_dim": null, "conv_in_kernel": 3,
    "conv_out_kernel": 3, "attention_type": "default", "class_embeddings_concat": false,
    "mid_block_only_cross_attention": false, "cross_attention_norm": null})");
  return defaults;
}

/// Which blocks have transformers.
std::vector<bool> attends(ComponentConfig& reader, const std::vector<std::string>& types, const char* key, std::string_view with,
                          std::string_view without) {
  std::vector<bool> result;
  for (const auto& type : types) {
    if (type != with && type != without) reader.unsupported(fmt::format("key '{}': expected {} or {}, got {}", key, with, without, type));
    result.push_back(type == with);
  }
  return result;
}

void read_added(ComponentConfig& reader, const Json& json, UNetConfig& config) {
  const auto type = json.find("addition_embed_type");
  if (type == json.end() || type->is_null()) {
    reader.harmless({"addition_embed_type", "addition_time_embed_dim", "projection_class_embeddings_input_dim"});
    return;
  }
  reader.only({{"addition_embed_type", "text_time"}});
  config.added_time_width = reader.size("addition_time_embed_dim", 0);
  config.added_width = reader.size("projection_class_embeddings_input_dim", 0);
}

void check_levels(const UNetConfig& config, const std::string& where) {
  Problems problems(ErrorKind::file_format, where);
  if (config.up_attends.size() != config.levels.size()) {
    problems.add(fmt::format("expected as many up blocks as down blocks ({}), got {}", config.levels.size(), config.up_attends.size()));
  }
  for (const auto& level : config.levels) {
    if (level.channels % config.groups != 0) {
      problems.add(fmt::format("norm_num_groups {} do not divide {} channels", config.groups, level.channels));
    }
    if (level.channels % level.transformer.heads != 0) {
      problems.add(fmt::format("{} heads (attention_head_dim) do not divide {} channels", level.transformer.heads, level.channels));
    }
  }
  if (config.levels.front().channels % 2 != 0 || config.added_time_width % 2 != 0) {
    problems.add("expected an even number of channels for the embedding of the time");
  }
  problems.raise_if_any();
}

}  // namespace

UNetConfig read_unet_config(const Json& json, const std::string& where) {
  ComponentConfig reader(json, where, "UNet2DConditionModel");
  UNetConfig config;
  config.in = reader.size("in_channels", config.in);
  config.out = reader.size("out_channels", config.out);
  const auto down =
      reader.words("down_block_types", {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"});
  const auto up = reader.words("up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"});
  config.down_attends = attends(reader, down, "down_block_types", "CrossAttnDownBlock2D", "DownBlock2D");
  config.up_attends = attends(reader, up, "up_block_types", "CrossAttnUpBlock2D", "UpBlock2D");
  const size_t count = down.size();
  const auto channels = reader.sizes("block_out_channels", count, {320, 640, 1280, 1280});
  const auto layers = reader.sizes("layers_per_block", count, {2}), depth = reader.sizes("transformer_layers_per_block", count, {1});
  const auto states = reader.sizes("cross_attention_dim", count, {1280});
  const auto heads = reader.sizes("attention_head_dim", count, {8});  // diffusers' name for the number of heads
  const bool linear = reader.flag("use_linear_projection", false);
  for (size_t i = 0; i < count; ++i) config.levels.push_back({channels[i], layers[i], {heads[i], depth[i], states[i], linear}});
  config.groups = reader.size("norm_num_groups", config.groups);
  config.epsilon = reader.number("norm_eps", config.epsilon);
  config.cosine_first = reader.flag("flip_sin_to_cos", true);
  config.frequency_shift = reader.integer("freq_shift", 0);
  read_added(reader, json, config);
  reader.only(only_defaults());
  reader.harmless({"sample_size", "addition_embed_type_num_heads"});
  reader.finish();
  check_levels(config, where);
  return config;
}

}  // namespace lowrank::models
