// Original checkpoints: load_checkpoint and save_checkpoint.
#include <algorithm>

#include "lowrank/models/diffusion/pipeline.h"
#include "lowrank/models/weights.h"

namespace lowrank::models {

namespace fs = std::filesystem;

namespace {

constexpr const char* kConfigsKey = "lowrank.configs";  // metadata: what save_checkpoint's model is
using io::kLdmUNet, io::kLdmVae, io::kLdmText, io::kLdmTextXl, io::kLdmTextXl2;

/// EMA copies, the noise schedule's buffers, the loss of the VAE's training, and CLIP's temperature.
bool is_unneeded(std::string_view name) {
  constexpr std::string_view kStarts[] = {
      "model_ema.", "first_stage_model.model_ema.", "first_stage_model.loss.", "posterior_", "sqrt_", "alphas_cumprod", "denoiser."};
  constexpr std::string_view kWhole[] = {"betas", "log_one_minus_alphas_cumprod", "lvlb_weights", "logvar"};
  return std::ranges::any_of(kStarts, [&](auto start) { return name.starts_with(start); }) ||
         std::ranges::find(kWhole, name) != std::end(kWhole) || name.ends_with(".position_ids") || name.ends_with(".logit_scale");
}

std::string key_of(const std::string& name) {
  if (is_unneeded(name)) return "";
  // Some programs write CLIP's encoder without its "text_model.".
  if (name.starts_with(kLdmText) && !name.substr(kLdmText.size()).starts_with("text_model.")) {
    return fmt::format("{}text_model.{}", kLdmText, name.substr(kLdmText.size()));
  }
  return name;
}

io::LdmUNet numbering(const UNetConfig& config, const std::string& where) {
  const int64_t layers = config.levels.front().layers;
  const bool even = std::ranges::all_of(config.levels, [&](const UNetLevel& level) { return level.layers == layers; });
  check(even, ErrorKind::unsupported, where, "an original checkpoint numbers blocks of equal layers_per_block only");
  return {layers, config.up_attends};
}

/// Calls action(model, source_of) for every component.
template <class Action>
void each_component(const Pipeline& pipeline, const std::string& where, Action&& action) {
  const auto with = [](std::string_view prefix, io::LdmTensor tensor) {
    if (!tensor.name.empty()) tensor.name.insert(0, prefix);
    return tensor;
  };
  action(*pipeline.unet, [&, unet = numbering(pipeline.unet->config(), where)](const std::string& name) {
    return with(kLdmUNet, {io::ldm_unet_name(name, unet)});
  });
  action(*pipeline.vae, [&, blocks = static_cast<int64_t>(pipeline.vae->config().channels.size())](const std::string& name) {
    return with(kLdmVae, io::ldm_vae_name(name, blocks));
  });
  action(*pipeline.text_encoder, [&](const std::string& name) { return with(pipeline.is_xl() ? kLdmTextXl : kLdmText, {name}); });
  if (!pipeline.is_xl()) return;
  action(*pipeline.text_encoder_2, [&](const std::string& name) { return with(kLdmTextXl2, io::open_clip_name(name)); });
}

/// Configurations for a file: those in its metadata, else SD1.5's or SDXL's by the names of its tensors.
Json configs_for(const io::TensorFile& file, const std::string& where) {
  if (const auto own = file.metadata().find(kConfigsKey); own != file.metadata().end()) {
    return parse_json(own->second, fmt::format("{} ({})", where, kConfigsKey));
  }
  const auto has = [&](std::string_view prefix) {
    return std::ranges::any_of(file.tensors(), [&](const io::TensorView& view) { return view.name.starts_with(prefix); });
  };
  const bool sdxl = has(kLdmUNet) && has(kLdmTextXl) && has(kLdmTextXl2), sd15 = has(kLdmUNet) && has(kLdmText);
  const bool lora = has("lora_unet_") || has("unet.");
  check(sdxl || sd15, ErrorKind::unsupported, where,
        "expected an original checkpoint of SD1.5 (tensors '{}…', '{}…') or SDXL ('{}…'), got {}", kLdmUNet, kLdmText, kLdmTextXl2,
        lora                     ? "an adapter's file"
        : file.tensors().empty() ? "no tensors"
                                 : fmt::format("tensors like '{}'", file.tensors().front().name));
  return pipeline_configs(sdxl ? "sdxl" : "sd15");
}

}  // namespace

Pipeline load_checkpoint(const fs::path& path, at::ScalarType dtype) {
  const std::string where = path.string();
  for (const char* pickle : {".ckpt", ".pt", ".pth", ".bin"}) {
    if (path.extension() != pickle) continue;
    fail(ErrorKind::unsupported, where, "expected a safetensors file, got a pickle",
         "pickles run code when read, so they are never read; convert it with diffusers: "
         "StableDiffusionPipeline.from_single_file(FILE).save_pretrained(OUT, safe_serialization=True)");
  }
  const io::TensorFile file = io::TensorFile::open(path);
  Pipeline pipeline = make_pipeline(configs_for(file, where), where, dtype, nn::NewWeightsAre::replaced);
  StoredTensors stored(file, key_of);
  each_component(pipeline, where, [&](torch::nn::Module& model, const SourceOf& source_of) {
    stored.fill(model, source_of, model.parameters().front().scalar_type());
  });
  stored.finish();
  return pipeline;
}

void save_checkpoint(const fs::path& path, const Pipeline& pipeline) {
  tensor::TensorMap tensors;
  each_component(pipeline, path.string(), [&](const torch::nn::Module& model, const SourceOf& source_of) {
    refuse_unmerged(model);
    collect(model, source_of, tensors);
  });
  tensor::save_tensors(path, tensors, {{"format", "pt"}, {kConfigsKey, configs_of(pipeline).dump()}});
}

}  // namespace lowrank::models
