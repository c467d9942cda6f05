#include "lowrank/nn/conv2d.h"

#include <ATen/ops/add.h>
#include <ATen/ops/conv2d.h>

#include "lowrank/base/error.h"
#include "lowrank/kernels/frozen_conv2d.h"
#include "lowrank/kernels/lowrank_conv2d.h"
#include "lowrank/kernels/rank_projection.h"
#include "lowrank/nn/new_weights.h"

namespace lowrank::nn {

Conv2d::Conv2d(const Conv2dOptions& options)
    : options_(options), geometry_{options.kernel, options.stride, options.padding, options.dilation} {
  const int64_t groups = options.groups;
  check(groups > 0 && options.in % groups == 0 && options.out % groups == 0, ErrorKind::invalid_argument, "conv2d",
        "expected groups that divide {} input and {} output channels, got {}", options.in, options.out, groups);
  own(new_weight({options.out, options.in / groups, options.kernel[0], options.kernel[1]}),
      options.with_bias ? new_weight({options.out}) : at::Tensor());
}

HostShape Conv2d::shape() const {
  return {.kind = "conv2d",
          .out = options_.out,
          .in = options_.in / options_.groups * geometry_.taps(),
          .kernel = options_.kernel,
          .groups = options_.groups,
          .dilated = options_.dilation[0] * options_.dilation[1] > 1};
}

at::Tensor Conv2d::convolve(const at::Tensor& x, const at::Tensor& matrix, int64_t groups, const at::Tensor& bias) const {
  const at::Tensor kernels = matrix.to(x.scalar_type()).reshape({matrix.size(0), -1, options_.kernel[0], options_.kernel[1]});
  return at::conv2d(x, kernels, bias.defined() ? std::optional(bias) : std::nullopt, options_.stride, options_.padding, options_.dilation,
                    groups);
}

at::Tensor Conv2d::multiply(const at::Tensor& x, const at::Tensor& m, const at::Tensor& bias) const {
  return convolve(x, m, options_.groups, bias);
}

at::Tensor Conv2d::base(const at::Tensor& x, const at::Tensor& bias) const {
  if (options_.groups != 1 || x.scalar_type() != weight().scalar_type()) return multiply(x, matrix(), bias);
  return kernels::frozen_conv2d(x, weight(), bias, geometry_);
}

at::Tensor Conv2d::projected_weight(const at::Tensor& m) const {
  if (weight().is_contiguous()) return Host::projected_weight(m);
  return kernels::wide_projection(weight().permute({0, 2, 3, 1}).flatten(1), m, geometry_.taps());  // channels last
}

at::MemoryFormat Conv2d::layout(at::ScalarType dtype) const {
  return options_.groups == 1 && kernels::wants_channels_last(dtype) ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

at::Tensor Conv2d::project(const at::Tensor& x, const at::Tensor& m, int64_t blocks) const {
  if (blocks == 0) return convolve(x, options_.groups == 1 ? m : m.repeat({options_.groups, 1}), options_.groups);
  check(options_.groups == 1 && m.defined(), ErrorKind::unsupported, "conv2d", "expected a matrix and one group, got {} groups",
        options_.groups);
  const at::Tensor parts = x.unflatten(1, {blocks, x.size(1) / blocks}).transpose(0, 1).flatten(0, 1);  // [m·N, n, ..]
  return convolve(parts, m, 1).unflatten(0, {blocks, x.size(0)});
}

at::Tensor Conv2d::add_expanded(const at::Tensor& y0, const at::Tensor& h, const at::Tensor& m, double scale, int64_t blocks) const {
  const auto pointwise = [&](const at::Tensor& x, int64_t groups) {
    return at::conv2d(x, m.to(x.scalar_type()).unsqueeze(-1).unsqueeze(-1), {}, /*stride=*/1, at::IntArrayRef({0, 0}), /*dilation=*/1,
                      groups);
  };
  if (blocks == 0) return at::add(y0, pointwise(h, options_.groups), scale);
  check(options_.groups == 1, ErrorKind::unsupported, "conv2d", "expected one group, got {}", options_.groups);
  const at::Tensor parts = m.defined() ? pointwise(h.flatten(0, 1), 1) : h.flatten(0, 1);  // [l·N, O/l, ..]
  return at::add(y0, parts.unflatten(0, {blocks, y0.size(0)}).transpose(0, 1).flatten(1, 2), scale);
}

at::Tensor Conv2d::scale_outputs(const at::Tensor& y, const at::Tensor& gain) const {
  return y * gain.to(y.scalar_type()).unsqueeze(-1).unsqueeze(-1);
}

std::optional<at::Tensor> Conv2d::fused(const at::Tensor& x, const LowRankForm& form, const at::Tensor& product) const {
  if (options_.groups != 1 || weight().requires_grad()) return std::nullopt;
  return kernels::lowrank_conv2d(x, weight(), bias(), geometry_, form.A, form.B, form.scale, form.gain, form.mix, product);
}

std::optional<Host::ProductAndProjection> Conv2d::multiply_and_project(const at::Tensor& x, const at::Tensor& A) const {
  const bool can = options_.groups == 1 && A.scalar_type() == at::kFloat && A.size(0) % 2 == 0 && !weight().requires_grad() &&
                   kernels::has_unit_conv2d(x, weight(), geometry_);
  if (!can) return std::nullopt;
  const auto [product, projected] = kernels::unit_conv2d_and_projection(x, weight(), A, geometry_);
  return ProductAndProjection{product, projected};
}

}  // namespace lowrank::nn
