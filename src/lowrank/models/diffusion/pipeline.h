// A Stable Diffusion model as it lies on disk: a diffusers folder, or one original checkpoint (ldm and sgm names).
#pragma once

#include <filesystem>

#include "lowrank/models/diffusion/autoencoder_kl.h"
#include "lowrank/models/diffusion/clip_text.h"
#include "lowrank/models/diffusion/unet.h"
#include "lowrank/nn/new_weights.h"

namespace lowrank::models {

struct Pipeline {
  std::shared_ptr<UNet2DConditionModel> unet;
  std::shared_ptr<AutoencoderKL> vae;
  std::shared_ptr<ClipTextModel> text_encoder, text_encoder_2;  // the second only in SDXL
  Json scheduler;                                               // scheduler_config.json
  Json model_index;                                             // model_index.json
  /// The folder that it was loaded from, with what is not read here (tokenizers, safety checker); empty for a checkpoint file.
  std::filesystem::path folder;
  /// Of tokenizers for a model that has no folder yet.
  std::filesystem::path tokenizer;

  bool is_xl() const { return text_encoder_2 != nullptr; }
};

/// Loads a diffusers folder of StableDiffusionPipeline or StableDiffusionXLPipeline, weights frozen and cast to `dtype`; a float16
/// VAE that says force_upcast is kept in float32. `variant` picks among weight files ("fp16"); "" takes the plain one, else the only
/// one. Throws Error{unsupported} for other classes, settings that are not honoured, and pickles (with the command that
/// converts them); Error{file_format} for tensors that lack, do not fit or belong to nothing; Error{io} for missing files.
Pipeline load_diffusers(const std::filesystem::path& folder, at::ScalarType dtype, const std::string& variant = "");

/// Writes a diffusers folder that diffusers loads, whole or not at all; components that are not read here are copied from
/// pipeline.folder. Merged hosts are written merged; Error{invalid_argument} when an adapter is attached but not merged.
void save_diffusers(const std::filesystem::path& folder, const Pipeline& pipeline);

/// Loads an original checkpoint in safetensors: SD1.5 or SDXL, or any model of theirs that save_checkpoint wrote (the
/// configuration is in its metadata). EMA copies and schedule buffers are left unread. Throws as load_diffusers does.
Pipeline load_checkpoint(const std::filesystem::path& file, at::ScalarType dtype);

/// Writes one original checkpoint. Error{unsupported} for a UNet that the original numbering has no place for.
void save_checkpoint(const std::filesystem::path& file, const Pipeline& pipeline);

/// load_diffusers for a folder, load_checkpoint for a file.
Pipeline load_pipeline(const std::filesystem::path& path, at::ScalarType dtype);

/// The configurations of SD1.5 ("sd15") and SDXL ("sdxl"): model_index, unet, vae, text_encoder, text_encoder_2, scheduler.
const Json& pipeline_configs(std::string_view kind);

/// The components with zero weights, for `configs` of that form. `where` names them in errors.
Pipeline make_pipeline(const Json& configs, const std::string& where, at::ScalarType dtype,
                       nn::NewWeightsAre use = nn::NewWeightsAre::kept);
/// The same with random weights, a function of `seed` and the names: torch's own variances, embeddings with deviation 0.02.
Pipeline fresh_pipeline(const Json& configs, const std::string& where, uint64_t seed);
/// The way back: configs of a pipeline.
Json configs_of(const Pipeline& pipeline);

}  // namespace lowrank::models
