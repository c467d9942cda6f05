// LoRA: W' = W + s·B·A, A [R, I], B [O, R], s = alpha/R, or alpha/√R with rsLoRA (Hu et al., arXiv 2106.09685;
// Kalajdzievski, arXiv 2312.03732). Tensor roles and initialisation as in PEFT's tuners/lora/layer.py. Of a convolution A is a kernel
// [R, C, kh, kw] and B one of [O, R, 1, 1] (LoCon); in Tucker form A is lora_mid [R, R, kh, kw] after lora_A [R, C, 1, 1] (LyCORIS).
#pragma once

#include "lowrank/adapters/method.h"

namespace lowrank::adapters {

struct LoraOptions : MethodOptions {
  bool rslora = false;
  double dropout = 0.0;
  bool tucker = false;
  void declare(OptionTable& table) override;
};

double lora_scale(const ModuleOptions& options);
std::vector<TensorSpec> lora_tensors(const ModuleOptions& options, const nn::HostShape& host);
/// Throws Error{unsupported} for the Tucker form, and for groups, where PEFT's A sees the channels of all of them.
PeftModule lora_peft_module(const ModuleOptions& options, const nn::HostShape& host);

/// The trained pair and its scale, shared by every method that starts from B·A.
class LoraAdapter : public nn::Adapter {
 public:
  /// A and mid uniform in ±1/√fan_in (kaiming, a=√5) and B zero; for one-hot inputs A zero and B normal(0, 1).
  LoraAdapter(const ModuleOptions& options, const nn::Host& host);

  at::Tensor apply_to_weight(const at::Tensor& w) const override;
  std::optional<nn::LowRankForm> low_rank(const nn::Host& host) const override;
  at::Tensor forward(const at::Tensor& x, const at::Tensor& y0, const nn::Host& host, const nn::DropoutSource& dropout) override;
  bool has_dropout() const override { return dropout_ > 0; }

 protected:
  at::Tensor A() const;  // [R, I]
  at::Tensor B() const { return parameters_["lora_B"].flatten(1); }
  double scale() const { return scale_; }
  double dropout() const { return dropout_; }

 private:
  double scale_, dropout_;
  bool tucker_;
};

}  // namespace lowrank::adapters
