// Names of Stable Diffusion's original checkpoints (ldm, sgm, OpenCLIP) for the parameters of diffusers and transformers.
// Strings only: module paths without ".weight" (as adapter files need them) are mapped as well as parameters.
// Sources: CompVis latent-diffusion `openaimodel.py` and `model.py`, Stability-AI generative-models, open_clip `transformer.py`;
// diffusers `single_file_utils.py`.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowrank::io {

/// Where a checkpoint keeps its parts; SD 1.x has one text encoder, SDXL two.
inline constexpr std::string_view kLdmUNet = "model.diffusion_model.", kLdmVae = "first_stage_model.",
                                  kLdmText = "cond_stage_model.transformer.", kLdmTextXl = "conditioner.embedders.0.transformer.",
                                  kLdmTextXl2 = "conditioner.embedders.1.model.";

/// What of the original tensor a parameter is.
enum class LdmPart {
  whole,
  pointwise,    // a matrix [O, I] here, a convolution [O, I, 1, 1] there
  transposed,   // [O, I] here, [I, O] there
  first_third,  // rows of a fused query, key and value projection
  second_third,
  last_third,
};

/// 0, 1 or 2 for a third, else -1.
constexpr int third_of(LdmPart part) {
  const int third = static_cast<int>(part) - static_cast<int>(LdmPart::first_third);
  return third < 0 ? -1 : third;
}

struct LdmTensor {
  std::string name;
  LdmPart part = LdmPart::whole;
};

/// How the original UNet numbers its blocks.
struct LdmUNet {
  int64_t layers = 2;            // residual layers of a down block
  std::vector<bool> up_attends;  // whether up block i has transformers
};

/// The numbering of a UNet whose modules or parameters these are, in diffusers' names.
LdmUNet ldm_numbering(std::span<const std::string> names);
/// The same from the original names, which say nothing of `up_attends`: enough for diffusers_unet_name.
LdmUNet original_numbering(std::span<const std::string> names);

/// "down_blocks.0.resnets.0.norm1.weight" → "input_blocks.1.0.in_layers.0.weight"; "" for a name that no such UNet has.
std::string ldm_unet_name(std::string_view name, const LdmUNet& unet);
/// The way back; "" for a name that no such UNet has.
std::string diffusers_unet_name(std::string_view name, const LdmUNet& unet);

/// AutoencoderKL with `blocks` resolutions: "decoder.up_blocks.0.…" → "decoder.up.<blocks−1>.…"; its attention is pointwise.
LdmTensor ldm_vae_name(std::string_view name, int64_t blocks);

/// CLIPTextModelWithProjection → OpenCLIP: "text_model.encoder.layers.0.self_attn.q_proj.weight" is the first third of
/// "transformer.resblocks.0.attn.in_proj_weight".
LdmTensor open_clip_name(std::string_view name);

}  // namespace lowrank::io
