// Puts adapters on a model's hosts, and takes them off.
#pragma once

#include <string>
#include <vector>

#include "lowrank/adapters/config.h"

namespace lowrank::adapters {

/// One adapted module.
struct Attached {
  std::string module;                      // dotted name
  nn::Host* host = nullptr;
  std::shared_ptr<nn::Adapter> adapter;
  ModuleOptions options;
};

/// What an attached adapter is made of; keeps the model's hosts alive no longer than the model.
struct AdapterSet {
  AdapterConfig config;
  std::vector<Attached> modules;
  std::vector<std::pair<std::string, at::Tensor>> biases;   // base biases that train, by parameter name (bias all/lora_only)

  /// (name, tensor) of every trainable tensor: "<module>.<tensor>" for adapters, then the biases.
  std::vector<std::pair<std::string, at::Tensor>> parameters() const;
  int64_t parameter_count() const;
};

/// The modules that `targets` and `exclude` choose among the hosts of `model`; `heads` are module names (the new output
/// layers) that all-linear leaves out. Throws Error{invalid_argument} listing near misses when a target matches nothing,
/// and Error{unsupported} when the method cannot adapt a chosen host.
std::vector<std::pair<std::string, nn::Host*>> choose_hosts(torch::nn::Module& model, const AdapterConfig& config,
                                                            const std::vector<std::string>& heads);

/// Attaches a fresh adapter named `name` to every chosen host.
AdapterSet attach(torch::nn::Module& model, const AdapterConfig& config, const std::vector<std::string>& heads,
                  const std::string& name = "default");

}  // namespace lowrank::adapters
