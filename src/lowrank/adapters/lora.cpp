#include "lowrank/adapters/lora.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <cmath>

#include "lowrank/adapters/dropout.h"
#include "lowrank/tensor/random.h"

namespace lowrank::adapters {

void LoraOptions::declare(OptionTable& table) {
  table.add("rslora", rslora, "scale by alpha/√rank instead of alpha/rank (arXiv 2312.03732)");
  table.add("dropout", dropout, "dropout on the adapter's input").range(0, 0.99);
}

double lora_scale(const ModuleOptions& options) {
  const auto& own = dynamic_cast<const LoraOptions&>(*options.method);
  const auto rank = static_cast<double>(options.rank);
  return options.alpha / (own.rslora ? std::sqrt(rank) : rank);
}

std::vector<TensorSpec> lora_tensors(const ModuleOptions& options, const nn::HostShape& host) {
  return {{"lora_A", {options.rank, host.in}}, {"lora_B", {host.out, options.rank}}};
}

LoraAdapter::LoraAdapter(const ModuleOptions& options, const nn::Host& host)
    : scale_(lora_scale(options)), dropout_(dynamic_cast<const LoraOptions&>(*options.method).dropout) {
  const nn::HostShape shape = host.shape();
  const auto dtype = host.weight().scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto like = host.weight().options().dtype(dtype);
  at::Tensor a = at::zeros({options.rank, shape.in}, like), b = at::zeros({shape.out, options.rank}, like);
  if (shape.one_hot_input) {
    tensor::fill_normal_(b, 0, 1, RandomStream(options.seed, "init:lora_B:" + options.module));
  } else {
    tensor::fill_kaiming_(a, RandomStream(options.seed, "init:lora_A:" + options.module));
  }
  register_parameter("lora_A", a);
  register_parameter("lora_B", b);
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
    return {"LORA", "lora_alpha", "lora_dropout", {{"rslora", "use_rslora"}}, {{"use_dora", false}}, {}};
  }
  double effective_scale(const ModuleOptions& options, const nn::HostShape& /*host*/) const override { return lora_scale(options); }
};

}  // namespace

const Method& lora_method() {
  static const Lora method;
  return method;
}

}  // namespace lowrank::adapters
