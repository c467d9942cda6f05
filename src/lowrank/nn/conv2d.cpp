#include "lowrank/nn/conv2d.h"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/im2col.h>
#include <ATen/ops/zeros.h>

#include "lowrank/base/error.h"
#include "lowrank/nn/new_weights.h"

namespace lowrank::nn {

namespace {

/// [B, m·c, height, width] as [m·B, c, height, width], and back with a block's own channels.
at::Tensor blocks_to_batch(const at::Tensor& x, int64_t blocks) {
  return x.reshape({x.size(0), blocks, -1, x.size(2), x.size(3)}).transpose(0, 1).flatten(0, 1);
}

}  // namespace

Conv2d::Conv2d(const Conv2dOptions& options) : options_(options) {
  const int64_t groups = options.groups;
  check(groups > 0 && options.in % groups == 0 && options.out % groups == 0, ErrorKind::invalid_argument, "conv2d",
        "expected groups that divide {} input and {} output channels, got {}", options.in, options.out, groups);
  own(at::zeros({options.out, options.in / groups, options.kernel[0], options.kernel[1]}, new_weights()),
      options.with_bias ? at::zeros({options.out}, new_weights()) : at::Tensor());
}

HostShape Conv2d::shape() const {
  const int64_t taps = options_.kernel[0] * options_.kernel[1];
  return {.kind = "conv2d", .out = options_.out, .in = options_.in / options_.groups * taps, .taps = taps, .groups = options_.groups};
}

at::Tensor Conv2d::convolve(const at::Tensor& x, const at::Tensor& matrix, int64_t groups) const {
  const at::Tensor kernels = matrix.to(x.scalar_type()).reshape({matrix.size(0), -1, options_.kernel[0], options_.kernel[1]});
  return at::conv2d(x, kernels, {}, options_.stride, options_.padding, options_.dilation, groups);
}

at::Tensor Conv2d::project(const at::Tensor& x, const at::Tensor& m, int64_t blocks) const {
  if (blocks == 0) return convolve(x, options_.groups == 1 ? m : m.repeat({options_.groups, 1}), options_.groups);
  check(options_.groups == 1, ErrorKind::unsupported, "conv2d", "a convolution of {} groups has no input blocks", options_.groups);
  const at::Tensor parts = blocks_to_batch(x, blocks);
  at::Tensor h;
  if (m.defined()) {
    h = convolve(parts, m, 1);
  } else {  // the identity: every column of the matrix by itself
    const auto out_size = [&](int axis) {
      return (x.size(2 + axis) + 2 * options_.padding[axis] - options_.dilation[axis] * (options_.kernel[axis] - 1) - 1) /
                 options_.stride[axis] +
             1;
    };
    h = at::im2col(parts, options_.kernel, options_.dilation, options_.padding, options_.stride);
    h = h.view({h.size(0), h.size(1), out_size(0), out_size(1)});
  }
  return h.view({blocks, x.size(0), h.size(1), h.size(2), h.size(3)});
}

at::Tensor Conv2d::add_expanded(const at::Tensor& y0, const at::Tensor& h, const at::Tensor& m, double scale, int64_t blocks) const {
  const auto pointwise = [&](const at::Tensor& x, int64_t groups) {
    return at::conv2d(x, m.to(x.scalar_type()).unsqueeze(-1).unsqueeze(-1), {}, /*stride=*/1, at::IntArrayRef({0, 0}), /*dilation=*/1,
                      groups);
  };
  if (blocks == 0) return y0 + scale * pointwise(h, options_.groups);
  check(options_.groups == 1, ErrorKind::unsupported, "conv2d", "a convolution of {} groups has no output blocks", options_.groups);
  const at::Tensor parts = m.defined() ? pointwise(h.flatten(0, 1), 1) : h.flatten(0, 1);  // [l·B, O/l, ..]
  const at::Tensor y = parts.view({blocks, y0.size(0), -1, y0.size(2), y0.size(3)}).transpose(0, 1).flatten(1, 2);
  return y0 + scale * y;
}

at::Tensor Conv2d::scale_outputs(const at::Tensor& y, const at::Tensor& gain) const {
  return y * gain.to(y.scalar_type()).view({-1, 1, 1});
}

at::Tensor Conv2d::base(const at::Tensor& x) const {
  return at::conv2d(x, weight(), {}, options_.stride, options_.padding, options_.dilation, options_.groups);
}

at::Tensor Conv2d::add_bias(const at::Tensor& y) const { return y + bias().view({-1, 1, 1}); }

}  // namespace lowrank::nn
