#include "lowrank/adapters/lora.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <cmath>

#include "lowrank/adapters/dropout.h"
#include "lowrank/adapters/tucker.h"
#include "lowrank/base/error.h"
#include "lowrank/tensor/random.h"

namespace lowrank::adapters {

namespace {

const LoraOptions& own(const ModuleOptions& options) { return dynamic_cast<const LoraOptions&>(*options.method); }

bool is_tucker(const ModuleOptions& options, const nn::HostShape& host) { return own(options).tucker && host.taps() > 1; }

}  // namespace

void LoraOptions::declare(OptionTable& table) {
  table.add("rslora", rslora, "scale by alpha/√rank instead of alpha/rank (arXiv 2312.03732)");
  table.add("dropout", dropout, "dropout on the adapter's input").range(0, 0.99);
  table.add("tucker", tucker, "of convolutions: a 1x1 to R channels and a kernel among those (LyCORIS' use_tucker)");
}

double lora_scale(const ModuleOptions& options) {
  const auto rank = static_cast<double>(options.rank);
  return options.alpha / (own(options).rslora ? std::sqrt(rank) : rank);
}

std::vector<TensorSpec> lora_tensors(const ModuleOptions& options, const nn::HostShape& host) {
  const int64_t rank = options.rank;
  const TensorSpec up{"lora_B", host.pointwise(host.out, rank)};
  if (!is_tucker(options, host)) return {{"lora_A", host.kernels(rank, host.channels())}, up};
  return {{"lora_A", host.pointwise(rank, host.channels())}, {"lora_mid", host.kernels(rank, rank)}, up};
}

PeftModule lora_peft_module(const ModuleOptions& options, const nn::HostShape& host) {
  check(!is_tucker(options, host), ErrorKind::unsupported, options.module, "PEFT's LoRA has no Tucker form: expected tucker off, got on");
  check(host.groups == 1, ErrorKind::unsupported, options.module,
        "expected a convolution of one group, got {}: PEFT's lora_A then sees the channels of every group, which is another update",
        host.groups);
  return {options.rank, options.alpha};
}

LoraAdapter::LoraAdapter(const ModuleOptions& options, const nn::Host& host)
    : scale_(lora_scale(options)), dropout_(own(options).dropout), tucker_(is_tucker(options, host.shape())) {
  const bool one_hot = host.shape().one_hot_input;
  const auto dtype = host.weight().scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  for (const TensorSpec& spec : lora_tensors(options, host.shape())) {
    at::Tensor value = at::zeros(spec.shape, host.weight().options().dtype(dtype));
    const RandomStream stream(options.seed, "init:" + spec.name + ":" + options.module);
    if (one_hot && spec.name == "lora_B") {
      tensor::fill_normal_(value, 0, 1, stream);
    } else if (!one_hot && spec.name != "lora_B") {
      tensor::fill_kaiming_(value, stream);
    }
    register_parameter(spec.name, value);
  }
}

at::Tensor LoraAdapter::A() const {
  const at::Tensor down = parameters_["lora_A"].flatten(1);
  return tucker_ ? tucker_product(parameters_["lora_mid"], down) : down;
}

at::Tensor LoraAdapter::apply_to_weight(const at::Tensor& w) const {
  const auto wide = w.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return w.to(wide) + (multiplier() * scale_) * at::mm(B().to(wide), A().to(wide));
}

std::optional<nn::LowRankForm> LoraAdapter::low_rank(const nn::Host& /*host*/) const {
  return nn::LowRankForm{.A = A(), .B = B(), .scale = multiplier() * scale_, .gain = {}, .mix = {}};
}

at::Tensor LoraAdapter::forward(const at::Tensor& x, const at::Tensor& y0, const nn::Host& host, const nn::DropoutSource& dropout) {
  const at::Tensor h = host.project(drop_input(x, dropout_, dropout), A());
  return host.add_expanded(y0, h, B(), multiplier() * scale_);
}

namespace {

class Lora : public Method {
 public:
  std::string_view name() const override { return "lora"; }
  std::string_view title() const override { return "LoRA"; }
  std::string_view paper() const override { return "arXiv 2106.09685"; }
  std::unique_ptr<MethodOptions> make_options() const override { return std::make_unique<LoraOptions>(); }
  bool supports(const nn::HostShape& /*host*/) const override { return true; }
  std::vector<TensorSpec> tensors(const ModuleOptions& options, const nn::HostShape& host) const override {
    return lora_tensors(options, host);
  }
  std::shared_ptr<nn::Adapter> create(const ModuleOptions& options, const nn::Host& host) const override {
    return std::make_shared<LoraAdapter>(options, host);
  }
  PeftSpelling peft() const override {
    return {"LORA", "lora_alpha", "lora_dropout", {{"rslora", "use_rslora"}}, {{"use_dora", false}}, {"tucker"}};
  }
  PeftModule peft_module(const ModuleOptions& options, const nn::HostShape& host) const override { return lora_peft_module(options, host); }
  double effective_scale(const ModuleOptions& options, const nn::HostShape& /*host*/) const override { return lora_scale(options); }
};

}  // namespace

const Method& lora_method() {
  static const Lora method;
  return method;
}

}  // namespace lowrank::adapters
