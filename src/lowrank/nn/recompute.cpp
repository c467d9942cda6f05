#include "lowrank/nn/recompute.h"

#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace lowrank::nn {

namespace {

struct Kept : torch::CustomClassHolder {
  explicit Kept(Recomputed function) : run(std::move(function)) {}
  Recomputed run;
};

struct RecomputeFunction : torch::autograd::Function<RecomputeFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const c10::intrusive_ptr<Kept>& kept, at::TensorList inputs,
                            const at::Tensor& /*anchor*/) {
    ctx->saved_data["run"] = c10::IValue::make_capsule(kept);
    ctx->save_for_backward(inputs.vec());
    return kept->run(inputs.vec());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, const torch::autograd::variable_list& gradients) {
    std::vector<at::Tensor> inputs = ctx->get_saved_variables();
    for (auto& input : inputs) {
      input = input.detach().set_requires_grad(input.requires_grad());
    }
    const auto kept = c10::static_intrusive_pointer_cast<Kept>(ctx->saved_data["run"].toCapsule());
    {
      const at::AutoGradMode with_gradients(true);
      const at::Tensor y = kept->run(inputs);
      torch::autograd::backward({y}, {gradients[0]});
    }
    torch::autograd::variable_list result{at::Tensor()};  // the function itself has none
    for (const auto& input : inputs) result.push_back(input.grad());
    result.emplace_back();
    return result;
  }
};

}  // namespace

at::Tensor recompute(Recomputed run, const std::vector<at::Tensor>& inputs) {
  if (!at::GradMode::is_enabled()) return run(inputs);
  // The anchor makes the result require gradients even when no input does: parameters inside may.
  static const at::Tensor anchor = at::zeros({}).set_requires_grad(true);
  return RecomputeFunction::apply(c10::make_intrusive<Kept>(std::move(run)), at::TensorList(inputs), anchor);
}

}  // namespace lowrank::nn
