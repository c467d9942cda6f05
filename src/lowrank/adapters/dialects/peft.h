// PEFT's folder: adapter_config.json and adapter_model.safetensors, read and written exactly (PEFT 0.21.2,
// src/peft/utils/ save_and_load.py, tuners/*/config.py). Keys are "base_model.model." + module path + suffix. Beside
// them lowrank.json holds what PEFT has no key for. docs/formats.md has the tables.
#pragma once

#include <filesystem>

#include "lowrank/adapters/attach.h"
#include "lowrank/tensor/load.h"

namespace lowrank::adapters {

/// What the folder records besides the adapter itself.
struct PeftContext {
  std::string base_model;                    // base_model_name_or_path
  std::string task_type;                     // "SEQ_CLS", "FEATURE_EXTRACTION", … or ""
  std::vector<std::string> modules_to_save;  // the modules that train in full: new heads
  /// Keys of a file that was read which change nothing here and are written back as they were: revision, auto_mapping,
  /// init_….
  Json kept = Json::object();
  /// The other members of lowrank.json: label names and whatever else the caller needs to find again.
  Json notes = Json::object();
};

struct PeftFolder {
  std::filesystem::path path;
  AdapterConfig config;   // lowrank.json's when there is one, else `spelled`
  AdapterConfig spelled;  // what adapter_config.json alone says
  PeftContext context;
  tensor::TensorMap tensors;  // by our name: "<module>.<tensor>", and heads' and biases' plain names
};

/// Reads a folder. Throws Error{unsupported} naming every configuration key whose value we cannot honour, or when the
/// tensors are a pickle; Error{file_format} naming every unknown key and unusable tensor, and where lowrank.json and
/// adapter_config.json disagree.
PeftFolder read_peft(const std::filesystem::path& folder);

/// Throws Error{unsupported} when PEFT would not build the same adapter from what the folder can say. Cheap: call it
/// before training, since write_peft refuses for the same reasons.
void check_peft(const AdapterSet& set);

/// Writes the folder (inside an AtomicFolder of the caller's): `heads` are the trained new modules' parameters by plain
/// name.
void write_peft(const std::filesystem::path& folder, const AdapterSet& set, const tensor::TensorMap& heads, const PeftContext& context);

/// Puts the folder's tensors into the model: attaches adapters per config, copies every tensor, refuses missing,
/// unexpected and misshapen ones in one Error{file_format}; the model is then unchanged. `heads` are the modules that
/// the base checkpoint lacks: the folder must hold their parameters, as it must those of its own modules_to_save.
AdapterSet load_peft(torch::nn::Module& model, const PeftFolder& folder, const std::vector<std::string>& heads,
                     const std::string& name = "default");

/// Reads `folder` back by an independent path (raw tensors and plain formulas, no adapter classes) and compares ΔW of
/// every module with the live adapters in float64, and heads and biases with their bytes. Returns the largest relative
/// difference of a ΔW; throws Error{internal} when over 1e-5.
double verify_peft(const std::filesystem::path& folder, const AdapterSet& set, const tensor::TensorMap& heads = {});

}  // namespace lowrank::adapters
