#include "lowrank/adapters/dora.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "lowrank/adapters/dropout.h"
#include "lowrank/kernels/row_squares.h"

namespace lowrank::adapters {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// Below this share of ‖W_j‖² the sum has cancelled too many of U's digits, and the row is computed directly. Only an update about as
/// long as W_j cancels it: where the sum is under 0.05·(‖W_j‖² + ‖s·B_j·A‖²), the triangle inequality puts it under this as well.
constexpr double kCancellation = 0.15;

c10::ScalarType wide(const at::Tensor& t) { return t.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

at::Tensor row_norms(const at::Tensor& matrix) { return at::linalg_vector_norm(matrix, 2, {1}, false, at::kDouble); }

/// ‖W_j‖² of the host's matrix, whose rows are the stored weight's unless its input is an index.
at::Tensor squares_of(const nn::Host& host) { return kernels::row_squares(host.shape().one_hot_input ? host.matrix() : host.weight()); }

struct NormGradient : torch::autograd::Function<NormGradient> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& A, const at::Tensor& B, const at::Tensor& matrix,
                            const at::Tensor& projected, const at::Tensor& norms, double scale) {
    ctx->save_for_backward({A, B, matrix, projected, norms});
    ctx->saved_data["scale"] = scale;
    return norms.clone();
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &A = saved[0], &B = saved[1], &matrix = saved[2], &projected = saved[3], &norms = saved[4];
    const double s = ctx->saved_data["scale"].toDouble();
    const at::Tensor weights = at::where(norms > 0, grads[0] / norms, 0).unsqueeze(1), weighted = weights * B;
    const at::Tensor dB = weights * (s * projected + (s * s) * at::mm(B, at::mm(A, A.t())));
    const at::Tensor dA = s * at::mm(weighted.t(), matrix.to(A.scalar_type())) + (s * s) * at::mm(at::mm(B.t(), weighted), A);
    return {dA, dB, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

void DoraOptions::declare(OptionTable& table) {
  LoraOptions::declare(table);
  table.add("norm-gradient", norm_gradient, "gradient through the norm: none (detached, as the paper) or full")
      .choices({"detached", "full"});
}

namespace {

uint32_t version_of(const at::Tensor& t) { return t.is_inference() ? 0 : static_cast<uint32_t>(t._version()); }

}  // namespace

bool RowNorms::State::is(const at::Tensor& now) const {
  return tensor.defined() && tensor.is_alias_of(now) && tensor.storage_offset() == now.storage_offset() && tensor.sizes() == now.sizes() &&
         version == version_of(now);
}

bool RowNorms::State::update(const at::Tensor& now) {
  if (is(now)) return false;
  tensor = now;
  version = version_of(now);
  return true;
}

bool RowNorms::State::has_contents(const at::Tensor& now) const { return copy.defined() && at::equal(copy, now); }

bool RowNorms::are_of(const nn::Host& host, const at::Tensor& A, const at::Tensor& B) const {
  return weight_.is(host.weight()) && a_.has_contents(A) && b_.has_contents(B);
}

bool RowNorms::State::update_contents(const at::Tensor& now) {
  if (!now.is_cpu()) return update(now) || at::GradMode::is_enabled();
  if (has_contents(now)) return false;
  const c10::InferenceMode ordinary(false);
  const at::NoGradGuard no_grad;
  if (copy.defined() && copy.sizes() == now.sizes())
    copy.copy_(now);  // into memory that is there
  else
    copy = now.detach().clone();
  return true;
}

at::Tensor RowNorms::of(const nn::Host& host, const at::Tensor& A, const at::Tensor& B, double scale, bool with_gradient) {
  const bool new_weight = weight_.update(host.weight()), new_a = a_.update_contents(A), new_b = b_.update_contents(B);
  if (new_weight || new_a || new_b) {
    // Kept for later passes, which may record gradients: not an inference tensor even when this one is such a pass.
    const c10::InferenceMode ordinary(false);
    const at::NoGradGuard no_grad;
    ++computations_;
    if (A.is_cpu()) {
      if (new_weight) squares_ = squares_of(host);
      compute(host, A, B, scale);
    } else {
      compute_directly(host, A, B, scale, with_gradient);
    }
    divisors_ = norms_.masked_fill(norms_ == 0, 1);
  }
  if (with_gradient && at::GradMode::is_enabled()) return NormGradient::apply(A, B, host.matrix(), projected_, norms_, scale);
  return norms_;
}

void RowNorms::compute(const nn::Host& host, const at::Tensor& A, const at::Tensor& B, double scale) {
  projected_ = host.project_weight(A);
  at::Tensor sum = kernels::adapted_row_squares(projected_, A, B, scale, squares_);
  const at::Tensor cancelled = sum.lt(kCancellation * squares_).nonzero().flatten();
  if (cancelled.numel() > 0) {
    const at::Tensor rows = host.matrix().index_select(0, cancelled).to(at::kDouble) +
                            scale * at::mm(B.index_select(0, cancelled).to(at::kDouble), A.to(at::kDouble));
    sum.index_copy_(0, cancelled, row_norms(rows).square());
  }
  norms_ = sum.sqrt_().to(A.scalar_type());
}

void RowNorms::compute_directly(const nn::Host& host, const at::Tensor& A, const at::Tensor& B, double scale, bool with_gradient) {
  norms_ = at::linalg_vector_norm(at::addmm(host.matrix().to(A.scalar_type()), B, A, 1, scale), 2, {1});
  if (with_gradient) projected_ = host.project_weight(A);
}

DoraAdapter::DoraAdapter(const ModuleOptions& options, const nn::Host& host)
    : LoraAdapter(options, host), norm_has_gradient_(dynamic_cast<const DoraOptions&>(*options.method).norm_gradient == "full") {
  register_parameter("lora_magnitude_vector", squares_of(host).sqrt().to(A().scalar_type()));
}

at::Tensor DoraAdapter::gain(const at::Tensor& norms) const { return magnitude() / at::where(norms == 0, 1, norms); }

at::Tensor DoraAdapter::gain(const nn::Host& host) const {
  const at::Tensor norms = norms_.of(host, A(), B(), scale(), norm_has_gradient_);
  return norm_has_gradient_ ? gain(norms) : magnitude() / norms_.divisors();
}

at::Tensor DoraAdapter::apply_to_weight(const at::Tensor& w) const {
  const at::Tensor base = w.to(wide(w));
  const at::Tensor direction = base + scale() * at::mm(B().to(base.scalar_type()), A().to(base.scalar_type()));
  const at::Tensor norms = row_norms(direction).to(base.scalar_type());
  const at::Tensor adapted = gain(norm_has_gradient_ ? norms : norms.detach()).unsqueeze(1) * direction;
  return multiplier() == 1.0 ? adapted : base + multiplier() * (adapted - base);
}

std::optional<nn::LowRankForm> DoraAdapter::low_rank(const nn::Host& host) const {
  if (multiplier() != 1.0) return std::nullopt;
  return nn::LowRankForm{.A = A(), .B = B(), .scale = scale(), .gain = gain(host), .mix = {}};
}

at::Tensor DoraAdapter::due_projection(const nn::Host& host) const {
  const at::Tensor a = A();
  const bool due = multiplier() == 1.0 && a.is_cpu() && a.is_alias_of(parameters_["lora_A"]) && !norms_.are_of(host, a, B());
  return due ? a : at::Tensor();
}

at::Tensor DoraAdapter::forward(const at::Tensor& x, const at::Tensor& y0, const nn::Host& host, const nn::DropoutSource& source) {
  const at::Tensor dropped = drop_input(x, dropout(), source);
  const at::Tensor base = dropped.is_same(x) ? y0 : host.base(dropped, {});
  const at::Tensor g = gain(host);
  // g − 1 rather than g, which narrow dtypes would round to 1.
  const at::Tensor y = y0 + host.scale_outputs(base, multiplier() * (g - 1));
  return host.add_expanded(y, host.project(dropped, A()), g.unsqueeze(1) * B(), multiplier() * scale());
}

namespace {

class Dora : public Method {
 public:
  std::string_view name() const override { return "dora"; }
  std::string_view title() const override { return "DoRA"; }
  std::string_view paper() const override { return "arXiv 2402.09353"; }
  std::unique_ptr<MethodOptions> make_options() const override { return std::make_unique<DoraOptions>(); }
  bool supports(const nn::HostShape& /*host*/) const override { return true; }
  std::vector<TensorSpec> tensors(const ModuleOptions& options, const nn::HostShape& host) const override {
    auto specs = lora_tensors(options, host);
    specs.push_back({"lora_magnitude_vector", {host.out}});
    return specs;
  }
  std::shared_ptr<nn::Adapter> create(const ModuleOptions& options, const nn::Host& host) const override {
    return std::make_shared<DoraAdapter>(options, host);
  }
  PeftSpelling peft() const override {
    return {"LORA", "lora_alpha", "lora_dropout", {{"rslora", "use_rslora"}}, {{"use_dora", true}}, {"norm-gradient", "tucker"}};
  }
  PeftModule peft_module(const ModuleOptions& options, const nn::HostShape& host) const override { return lora_peft_module(options, host); }
  double effective_scale(const ModuleOptions& options, const nn::HostShape& /*host*/) const override { return lora_scale(options); }
};

}  // namespace

const Method& dora_method() {
  static const Dora method;
  return method;
}

}  // namespace lowrank::adapters
