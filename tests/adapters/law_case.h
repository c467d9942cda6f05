// One case of the laws: a method on a host in a dtype, everything by formula.
#pragma once

#include <gtest/gtest.h>

#include "support/fixed_init.h"

#include "lowrank/adapters/method.h"
#include "lowrank/nn/conv2d.h"
#include "lowrank/nn/embedding.h"
#include "lowrank/nn/linear.h"

namespace lowrank::test {

struct LawCase {
  const adapters::Method* method;
  std::string host;  // one of kHostKinds
  c10::ScalarType dtype;

  friend std::ostream& operator<<(std::ostream& out, const LawCase& c) {
    return out << c.method->name() << " on " << c.host << ", " << c10::toString(c.dtype);
  }
};

inline constexpr int64_t kOut = 40, kIn = 24, kRows = 10;  // neither square nor a power of two; LoKr's factor divides both

/// Every kind of layer that adapters can go on. A new one needs its lines here and in make_host and make_input.
inline const std::vector<std::string> kHostKinds = {"linear",         "linear_no_bias", "embedding",       "conv2d",
                                                    "conv2d_strided", "conv2d_grouped", "conv2d_pointwise"};

/// A layer that has no fused path, so that a method's own forward runs.
template <class Layer>
struct Unfused : Layer {
  using Layer::Layer;

 protected:
  std::optional<at::Tensor> fused(const at::Tensor& /*x*/, const nn::LowRankForm& /*form*/, const at::Tensor& /*product*/) const override {
    return std::nullopt;
  }
};

template <class Layer, class... Arguments>
std::shared_ptr<nn::Host> make_layer(bool with_fused, const Arguments&... arguments) {
  if (with_fused) return std::make_shared<Layer>(arguments...);
  return std::make_shared<Unfused<Layer>>(arguments...);
}

inline nn::Conv2dOptions conv2d_options(const std::string& kind) {
  nn::Conv2dOptions options{.in = kIn, .out = kOut, .kernel = {3, 3}, .padding = {1, 1}};
  if (kind == "conv2d_strided") {
    options.stride = options.dilation = options.padding = {2, 2};
    options.with_bias = false;
  } else if (kind == "conv2d_grouped") {
    options.groups = 2;
    options.kernel = {3, 2};
  } else if (kind == "conv2d_pointwise") {
    options.kernel = {1, 1};
    options.padding = {0, 0};
  }
  return options;
}

/// With the weights of any new layer.
inline std::shared_ptr<nn::Host> make_new_host(const std::string& kind, bool with_fused = true) {
  if (kind == "embedding") return make_layer<nn::Embedding>(with_fused, kIn, kOut);
  if (kind.starts_with("conv2d")) return make_layer<nn::Conv2d>(with_fused, conv2d_options(kind));
  return make_layer<nn::Linear>(with_fused, kIn, kOut, kind == "linear");
}

inline std::shared_ptr<nn::Host> make_host(const std::string& kind, c10::ScalarType dtype, bool with_fused = true) {
  const auto host = make_new_host(kind, with_fused);
  host->set_weight(fixed(host->weight().sizes(), 1, 0.5, dtype));
  if (host->bias().defined()) host->set_bias(fixed({kOut}, 2, 0.5, dtype));
  return host;
}

inline at::Tensor make_input(const std::string& kind, c10::ScalarType dtype, int64_t rows = kRows) {
  if (kind == "embedding") return (fixed({rows}, 3).abs() * kIn).to(at::kLong);
  if (kind.starts_with("conv2d")) return fixed({rows, kIn, 3, 4}, 3, 1.0, dtype);
  return fixed({rows, kIn}, 3, 1.0, dtype);
}

/// Options with alpha ≠ rank; `set` adjusts the method's own by name.
class Configured {
 public:
  explicit Configured(const adapters::Method& method, int64_t rank = 2, double alpha = 3) : method_(method.make_options()) {
    method_->declare(table_);
    options_ = {.module = "layer", .rank = rank, .alpha = alpha, .seed = 7, .method = method_.get()};
  }
  Configured(const Configured&) = delete;
  Configured& operator=(const Configured&) = delete;

  /// Sets `value` on every option whose name ends with `suffix`; returns how many there were.
  int set(std::string_view suffix, const Json& value) {
    int found = 0;
    for (const auto& option : table_.options()) {
      if (option.name().ends_with(suffix)) ++found, table_.at(option.name(), "test").set(value, "test");
    }
    return found;
  }
  const adapters::ModuleOptions& operator*() const { return options_; }
  OptionTable& table() { return table_; }

 private:
  std::unique_ptr<adapters::MethodOptions> method_;
  OptionTable table_;
  adapters::ModuleOptions options_;
};

/// Moves every parameter by formula, so that no term of the method is zero or one.
inline void perturb(nn::Adapter& adapter) {
  const at::NoGradGuard no_grad;
  uint32_t salt = 11;
  for (auto& parameter : adapter.parameters()) parameter.add_(fixed(parameter.sizes(), salt++, 0.4, parameter.scalar_type()));
}

inline std::shared_ptr<nn::Adapter> make_perturbed(const adapters::Method& method, const adapters::ModuleOptions& options,
                                                   const nn::Host& host) {
  auto adapter = method.create(options, host);
  perturb(*adapter);
  return adapter;
}

}  // namespace lowrank::test
