// PEFT's folder: adapter_config.json and adapter_model.safetensors, read and written exactly (PEFT src/peft/utils/
// save_and_load.py, tuners/*/config.py). Keys are "base_model.model." + module path + suffix.
#pragma once

#include <filesystem>

#include "lowrank/adapters/attach.h"
#include "lowrank/tensor/load.h"

namespace lowrank::adapters {

/// Facts of the base model that the configuration records.
struct PeftContext {
  std::string base_model;                       // base_model_name_or_path
  std::string task_type;                        // "SEQ_CLS", "FEATURE_EXTRACTION"
  std::vector<std::string> modules_to_save;     // the new heads' module names
};

struct PeftFolder {
  AdapterConfig config;
  PeftContext context;
  tensor::TensorMap tensors;                    // by our name: "<module>.<tensor>", and heads' and biases' plain names
};

/// Reads a folder. Throws Error{unsupported} naming every configuration key whose value we cannot honour, and
/// Error{file_format} naming every unknown key and tensor.
PeftFolder read_peft(const std::filesystem::path& folder);

/// Writes the folder (inside an AtomicFolder of the caller's): `heads` are the trained new modules' parameters by plain name.
void write_peft(const std::filesystem::path& folder, const AdapterSet& set, const tensor::TensorMap& heads, const PeftContext& context);

/// Puts the folder's tensors into the model: attaches adapters per config, copies every tensor, refuses missing, unexpected
/// and misshapen ones in one Error. `parameters` of heads are copied by name.
AdapterSet load_peft(torch::nn::Module& model, const PeftFolder& folder, const std::vector<std::string>& heads,
                     const std::string& name = "default");

/// Reads `folder` back by an independent path (raw tensors and plain formulas, no adapter classes) and compares ΔW of every
/// module with the live adapters. Returns the largest relative difference; throws Error{internal} when over 1e-5.
double verify_peft(const std::filesystem::path& folder, const AdapterSet& set);

}  // namespace lowrank::adapters
