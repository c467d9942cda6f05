// A low-rank method as the rest of the program sees it. One file a method, one line in adapters.def.
//
// A method declares its options, the tensors it adds to a host, the hosts it supports, and how PEFT spells all that. What
// the tensors mean is defined by nn::Adapter::apply_to_weight; see docs/methods/<name>.md for the formula.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/base/json.h"
#include "lowrank/base/options.h"
#include "lowrank/nn/host.h"

namespace lowrank::adapters {

/// Options that only one method knows. Each method derives its own struct.
struct MethodOptions {
  virtual ~MethodOptions() = default;
  virtual void declare(OptionTable& table) = 0;
};

/// One tensor that a method adds to a host.
struct TensorSpec {
  std::string name;  // "lora_A", "lokr_w2_b": the field's name, without module path and ".weight"
  std::vector<int64_t> shape;
};

/// What one module gets after rank and alpha patterns are applied.
struct ModuleOptions {
  std::string module;  // dotted name in the model
  int64_t rank = 16;
  double alpha = 16;
  uint64_t seed = 42;
  const MethodOptions* method = nullptr;  // the method's own type
};

/// How PEFT's adapter_config.json and adapter_model.safetensors spell a method.
struct PeftSpelling {
  std::string_view peft_type;                                          // "LORA"
  std::string_view alpha_key;                                          // "lora_alpha" or "alpha"
  std::string_view dropout_key;                                        // our "dropout" there, "" when it has none
  std::vector<std::pair<std::string_view, std::string_view>> options;  // our option → its key, same value
  std::vector<std::pair<std::string_view, Json>> fixed;                // keys that tell this method from its kin: use_dora
  /// Our options without a key there that may have any value all the same: they act in training alone, or peft_module()
  /// says what they do. Every other option must be spelled above.
  std::vector<std::string_view> unspelled;
};

/// The rank and alpha from which PEFT builds the same tensors and the same scale for one module.
struct PeftModule {
  int64_t rank;
  double alpha;
};

class Method {
 public:
  virtual ~Method() = default;
  virtual std::string_view name() const = 0;   // "lora"
  virtual std::string_view title() const = 0;  // "LoRA"
  virtual std::string_view paper() const = 0;  // "arXiv 2106.09685"
  virtual std::unique_ptr<MethodOptions> make_options() const = 0;
  virtual bool supports(const nn::HostShape& host) const = 0;
  /// The tensors for one host, in a fixed order.
  virtual std::vector<TensorSpec> tensors(const ModuleOptions& options, const nn::HostShape& host) const = 0;
  /// A fresh adapter for `host`, initialised from options.seed so that W' = W; parameters named as in tensors(), float32
  /// (float64 when the host's weight is), on the host's device.
  virtual std::shared_ptr<nn::Adapter> create(const ModuleOptions& options, const nn::Host& host) const = 0;
  virtual PeftSpelling peft() const = 0;
  /// Ours as they stand, for most. Throws Error{unsupported} when PEFT cannot say what this module's options say.
  virtual PeftModule peft_module(const ModuleOptions& options, const nn::HostShape& /*host*/) const {
    return {options.rank, options.alpha};
  }
  /// The scale that multiplies the update, for people to read: alpha/rank for most.
  virtual double effective_scale(const ModuleOptions& options, const nn::HostShape& host) const = 0;
  /// The learning rate that trains something on encoders when the user names none.
  virtual double default_learning_rate() const { return 5e-4; }
};

/// Every method of adapters.def, in that order.
std::span<const Method* const> methods();
/// Throws Error{invalid_argument} with near misses.
const Method& method_named(std::string_view name);

}  // namespace lowrank::adapters
