// What a picture says of its making, in the words of A1111's web interface ("parameters" in its PNG), which reads them back.
// Source: stable-diffusion-webui 1.10, modules/processing.py (create_infotext), modules/infotext_utils.py.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lowrank/generate/adapted_pipeline.h"
#include "lowrank/generate/sampling.h"

namespace lowrank::generate {

struct Infotext {
  std::string prompt, negative;
  int64_t steps = 0, width = 0, height = 0, clip_skip = 0;
  std::string sampler;  // "DPM++ 2M"
  bool karras = false;
  double cfg = 0;
  uint64_t seed = 0;
  std::string model, model_hash;
  std::vector<AdapterUse> adapters;
  std::vector<std::string> adapter_hashes;  // one an adapter
  int64_t training_step = -1;               // of a picture that was drawn while training
  std::string version;                      // of the program
};

/// What pictures drawn alike share; prompt, seed and adapters are the caller's. Throws what picture_size and sampler_for throw.
Infotext describe_sampling(const models::Pipeline& pipeline, const std::filesystem::path& model, const SampleOptions& options);

/// Prompt with "<lora:name:weight>" for every adapter, "Negative prompt: …", then "Steps: 20, Sampler: Euler a, …".
std::string to_string(const Infotext& infotext);

/// A1111's name of a sampler of samplers.def: "Euler a" for euler_ancestral.
std::string a1111_sampler(const std::string& sampler);

/// The first 10 digits of the SHA-256 of a checkpoint, or of a diffusers folder's UNet file(s) in the order of their names.
std::string model_hash(const std::filesystem::path& model);
/// The first 12 digits of sshs_model_hash, else of the SHA-256 of what follows the header (A1111's and kohya's hash without metadata).
std::string adapter_hash(const std::filesystem::path& adapter);

}  // namespace lowrank::generate
