// Puts adapters on a model's hosts, and takes them off.
#pragma once

#include <string>
#include <vector>

#include "lowrank/adapters/config.h"

namespace lowrank::adapters {

/// One adapted module.
struct Attached {
  std::string module;  // dotted name
  nn::Host* host = nullptr;
  std::shared_ptr<nn::Adapter> adapter;
  ModuleOptions options;
};

/// What an attached adapter is made of; refers to the model's hosts, so the model must outlive it.
struct AdapterSet {
  std::string name;
  AdapterConfig config;
  std::vector<std::string> heads;  // modules that were left out because they train in full
  std::vector<Attached> modules;
  /// Base biases that train, by parameter name (bias all, lora_only).
  std::vector<std::pair<std::string, at::Tensor>> biases;

  /// (name, tensor) of every trainable tensor: "<module>.<tensor>" for adapters, then the biases.
  std::vector<std::pair<std::string, at::Tensor>> parameters() const;
  int64_t parameter_count() const;
};

/// Who wrote the configuration. A user's mistakes are errors; a file's list may also name layers that this model lacks
/// (PEFT writes such lists), which is logged: its tensors decide whether it fits.
enum class Origin { user, file };

/// The hosts that the configuration's targets, exclusions and layer numbers choose, in module order. `heads` are
/// modules that train in full, so they are never adapted. Throws Error{invalid_argument} with near misses for every
/// target or exclusion that matches nothing or no adaptable layer, and Error{unsupported} when the method cannot adapt
/// a chosen host.
std::vector<std::pair<std::string, nn::Host*>> choose_hosts(torch::nn::Module& model, const AdapterConfig& config,
                                                            const std::vector<std::string>& heads, Origin origin = Origin::user);

/// Parameter names of the base biases that `config.bias` trains: every "bias" outside the heads, or those of `hosts`.
std::vector<std::string> trained_biases(torch::nn::Module& model, const AdapterConfig& config,
                                        const std::vector<std::pair<std::string, nn::Host*>>& hosts, const std::vector<std::string>& heads);

/// Attaches a fresh adapter named `name` to every chosen host and lets the chosen biases train. Also throws
/// Error{invalid_argument} for a rank that is larger than a layer and for a pattern that matches no chosen module. When
/// it throws the model is as before.
AdapterSet attach(torch::nn::Module& model, const AdapterConfig& config, const std::vector<std::string>& heads,
                  const std::string& name = "default", Origin origin = Origin::user);

/// Takes the set's adapters off their hosts and freezes its biases again; values that biases learned stay.
void detach(const AdapterSet& set);

}  // namespace lowrank::adapters
