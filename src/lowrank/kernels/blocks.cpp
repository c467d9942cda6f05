#include "lowrank/kernels/blocks.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

namespace lowrank::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// [.., m·n] seen as m strided matrices [N, n], without a copy.
at::Tensor blocks_of(const at::Tensor& x, int64_t blocks) {
  const int64_t width = x.size(-1) / blocks;
  return x.reshape({-1, blocks, width}).transpose(0, 1);
}

struct ProjectBlocks : torch::autograd::Function<ProjectBlocks> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& m, int64_t blocks) {
    const at::Tensor parts = blocks_of(x, blocks);
    at::Tensor result = at::empty({blocks, parts.size(1), m.size(0)}, x.options());
    for (int64_t j = 0; j < blocks; ++j) {
      at::Tensor slot = result[j];
      at::mm_out(slot, parts[j], m.t());
    }
    ctx->saved_data["blocks"] = blocks;
    ctx->save_for_backward({x, m});
    auto shape = x.sizes().vec();
    shape.back() = m.size(0);
    shape.insert(shape.begin(), blocks);
    return result.view(shape);
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &m = saved[1];
    const int64_t blocks = ctx->saved_data["blocks"].toInt();
    const at::Tensor g = grads[0].reshape({blocks, -1, m.size(0)}), parts = blocks_of(x, blocks);
    at::Tensor dx, dm;
    if (ctx->needs_input_grad(0)) {
      dx = at::empty(x.sizes(), x.options());
      const at::Tensor slots = blocks_of(dx, blocks);
      for (int64_t j = 0; j < blocks; ++j) slots[j].copy_(at::mm(g[j], m));
    }
    if (ctx->needs_input_grad(1)) {
      dm = at::zeros_like(m);
      for (int64_t j = 0; j < blocks; ++j) dm.addmm_(g[j].t(), parts[j]);
    }
    return {dx, dm, at::Tensor()};
  }
};

struct AddExpandedBlocks : torch::autograd::Function<AddExpandedBlocks> {
  static at::Tensor forward(AutogradContext* ctx, at::Tensor y, const at::Tensor& h, const at::Tensor& m, double scale) {
    const int64_t blocks = h.size(0);
    const at::Tensor slots = blocks_of(y, blocks), parts = h.reshape({blocks, -1, m.size(1)});
    for (int64_t i = 0; i < blocks; ++i) {
      at::Tensor slot = slots[i];
      slot.addmm_(parts[i], m.t(), 1, scale);
    }
    ctx->mark_dirty({y});
    ctx->saved_data["scale"] = scale;
    ctx->save_for_backward({h, m});
    return y;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &h = saved[0], &m = saved[1];
    const double scale = ctx->saved_data["scale"].toDouble();
    const int64_t blocks = h.size(0);
    const at::Tensor parts = h.reshape({blocks, -1, m.size(1)}), dy = blocks_of(grads[0], blocks);
    at::Tensor dh, dm;
    if (ctx->needs_input_grad(1)) {
      dh = at::empty(h.sizes(), h.options());
      const at::Tensor slots = dh.view({blocks, -1, m.size(1)});
      for (int64_t i = 0; i < blocks; ++i) {
        at::Tensor slot = slots[i];
        at::mm_out(slot, dy[i], m);
      }
      dh.mul_(scale);
    }
    if (ctx->needs_input_grad(2)) {
      dm = at::zeros_like(m);
      for (int64_t i = 0; i < blocks; ++i) dm.addmm_(dy[i].t(), parts[i], 1, scale);
    }
    return {grads[0], dh, dm, at::Tensor()};
  }
};

}  // namespace

at::Tensor project_blocks(const at::Tensor& x, const at::Tensor& m, int64_t blocks) {
  if (m.defined()) return ProjectBlocks::apply(x, m, blocks);
  auto shape = x.sizes().vec();
  shape.back() /= blocks;
  shape.insert(shape.begin(), blocks);
  return blocks_of(x, blocks).reshape(shape);
}

at::Tensor add_expanded_blocks(const at::Tensor& y0, const at::Tensor& h, const at::Tensor& m, double scale) {
  if (m.defined()) return AddExpandedBlocks::apply(y0, h, m, scale);
  blocks_of(y0, h.size(0)).add_(h.reshape({h.size(0), -1, h.size(-1)}), scale);
  return y0;
}

}  // namespace lowrank::kernels
