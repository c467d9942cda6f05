#include "lowrank/kernels/frozen_conv2d.h"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <torch/csrc/autograd/custom_function.h>
#include <vector>

#include "lowrank/kernels/bfloat16.h"
#include "lowrank/kernels/buffer.h"
#include "lowrank/kernels/matrix_unit.h"
#include "lowrank/kernels/rank_projection.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

using Number = at::BFloat16;

constexpr auto kLast = at::MemoryFormat::ChannelsLast;
constexpr int64_t kTileRows = 16;
constexpr int64_t kPieceNumbers = 192 << 10;  // of the weight that is packed at a time, for the second-level cache
constexpr int64_t kLeastRows = 256;           // that are worth packing the weight for again

int64_t rounded_up(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

/// Pictures with a border of zeros as rows of channels, one a pixel: each tap of a kernel then reads rows at one distance.
struct Frame {
  std::array<int64_t, 2> border, inner, outer;  // outer: with the border
  int64_t pictures, channels;

  int64_t plane() const { return outer[0] * outer[1]; }
};

Frame frame_of(const at::Tensor& x, std::array<int64_t, 2> border) {
  return {border, {x.size(2), x.size(3)}, {x.size(2) + 2 * border[0], x.size(3) + 2 * border[1]}, x.size(0), x.size(1)};
}

/// The rows of a frame, and `spare` ones behind them.
at::Tensor framed(const at::Tensor& x, const Frame& f, int64_t spare) {
  const at::Tensor last = x.contiguous(kLast), rows = at::empty({f.pictures * f.plane() + spare, f.channels}, x.options());
  const Number* from = last.const_data_ptr<Number>();
  Number* to = rows.mutable_data_ptr<Number>();
  tensor::parallel_for(0, f.pictures * f.outer[0], std::max<int64_t>(1, f.outer[0] / 4), [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t picture = line / f.outer[0], y = line % f.outer[0] - f.border[0], numbers = f.inner[1] * f.channels,
                    edge = f.border[1] * f.channels;
      Number* at = to + line * f.outer[1] * f.channels;
      if (y < 0 || y >= f.inner[0]) {
        std::fill_n(at, f.outer[1] * f.channels, Number(0.0F));
        continue;
      }
      std::fill_n(at, edge, Number(0.0F));
      std::copy_n(from + (picture * f.inner[0] + y) * numbers, numbers, at + edge);
      std::fill_n(at + edge + numbers, edge, Number(0.0F));
    }
  });
  std::fill_n(to + f.pictures * f.plane() * f.channels, spare * f.channels, Number(0.0F));
  return rows;
}

template <VectorUnit>
LOWRANK_ALWAYS_INLINE void round_rows(int64_t rows, int64_t width, const float* sums, const float* bias, Number* y, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i, sums += kUnitPanel, y += stride) {
    for (int64_t j = 0; j < width; ++j) y[j] = rounded<Number>(sums[j] + bias[j]);
  }
}
LOWRANK_VECTOR_VERSIONS(void, rounded_rows, round_rows,
                        (int64_t rows, int64_t width, const float* sums, const float* bias, Number* y, int64_t stride),
                        (rows, width, sums, bias, y, stride))

/// One convolution as it runs: rows of the frame times panels of the packed weight.
struct Work {
  FrozenMatrix weight;
  bool transposed;  // the product runs over W's rows: the input's gradient
  Frame frame;
  std::array<int64_t, 2> out;
  std::vector<int64_t> offsets;  // in rows, of each tap in the weight's order
  const Number* rows;
  const float* bias;  // [width]
  Number* y;
  /// More left factors, of which a row stands for no pixel: split_by_taps(A), [taps, more_rows, depth]; W·Aᵀ [width, rank]. Null for none.
  const Number* more = nullptr;
  int64_t more_rows = 0, rank = 0;
  float* more_sums = nullptr;

  int64_t width() const { return transposed ? weight.columns : weight.rows; }
  int64_t depth() const { return transposed ? weight.rows : weight.columns; }
  /// Rows of the frame from the first output to the last.
  int64_t span() const { return (frame.pictures - 1) * frame.plane() + (out[0] - 1) * frame.outer[1] + out[1]; }

  /// Rounds those of the sums, which belong to frame rows first … first + count, that are outputs.
  void finish(int64_t first, int64_t count, int64_t column, int64_t columns, const float* sums) const {
    const int64_t end = std::min(first + count, span());
    for (int64_t line = first / frame.outer[1]; line * frame.outer[1] < end; ++line) {
      const int64_t picture = line / frame.outer[0], row = line % frame.outer[0];
      if (row >= out[0]) continue;
      const int64_t begin = std::max(first, line * frame.outer[1]), stop = std::min(end, line * frame.outer[1] + out[1]);
      if (begin >= stop) continue;
      const int64_t pixel = (picture * out[0] + row) * out[1] + begin - line * frame.outer[1];
      rounded_rows(stop - begin, columns, sums + (begin - first) * kUnitPanel, bias + column, y + pixel * width() + column, width());
    }
  }
};

/// Memory of one thread that lives from call to call: fresh pages would cost more than what is computed in them.
struct Scratch {
  Buffer<Number> packed;
  Buffer<float> sums, more;
};

void run(const Work& w) {
  std::vector<int64_t> more_offsets;
  for (int64_t tap = 0; tap < w.weight.taps; ++tap) more_offsets.push_back(tap * w.more_rows);
  const int64_t tiles = (w.span() + kTileRows - 1) / kTileRows, panels = (w.width() + kUnitPanel - 1) / kUnitPanel, taps = w.weight.taps,
                depth = w.depth(), pieces = std::max<int64_t>(1, (taps * depth * kUnitPanel + kPieceNumbers - 1) / kPieceNumbers),
                piece = rounded_up((depth + pieces - 1) / pieces, 32), parts = tiles * kTileRows >= kLeastRows ? 2 : 1;
  tensor::parallel_for(0, panels * parts, 1, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    const UnitScope unit;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t part = item % parts, column = item / parts * kUnitPanel, columns = std::min(kUnitPanel, w.width() - column),
                    first = tiles * part / parts * kTileRows, count = tiles * (part + 1) / parts * kTileRows - first;
      float* sums = scratch.sums.at_least(count * kUnitPanel);
      const bool more = w.more != nullptr && part == 0;
      float* more_sums = scratch.more.at_least(more ? w.more_rows * kUnitPanel : 0);
      for (int64_t k = 0; k < depth; k += piece) {
        const int64_t numbers = std::min(piece, depth - k);
        Number* packed = scratch.packed.at_least(taps * numbers * kUnitPanel);
        if (w.transposed)
          w.weight.pack_columns(column, columns, k, numbers, packed);
        else
          w.weight.pack_rows(column, columns, k, numbers, packed);
        add_unit_products(count, columns, numbers, w.rows + first * depth + k, depth, w.offsets, packed, sums, /*add=*/k > 0);
        if (more) add_unit_products(w.more_rows, columns, numbers, w.more + k, depth, more_offsets, packed, more_sums, /*add=*/k > 0);
      }
      if (more) join_parts(w.rank, columns, more_sums, kUnitPanel, w.more_sums + column * w.rank);
      w.finish(first, count, column, columns, sums);
    }
  });
}

/// `more` [taps, rows, depth] with what it is for, W·Aᵀ [width, R], or undefined.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& c, bool transposed,
                   std::array<int64_t, 2> out, const at::Tensor& more = {}, const at::Tensor& more_sums = {}) {
  std::array<int64_t, 2> border = c.padding;
  if (transposed) border = {c.kernel[0] - 1 - c.padding[0], c.kernel[1] - 1 - c.padding[1]};
  const Frame frame = frame_of(x, border);
  std::vector<int64_t> offsets;
  for (int64_t tap = 0; tap < c.taps(); ++tap) {
    const int64_t from = transposed ? c.taps() - 1 - tap : tap;
    offsets.push_back(from / c.kernel[1] * frame.outer[1] + from % c.kernel[1]);
  }
  const int64_t width = transposed ? weight.size(1) : weight.size(0);
  const at::Tensor y = at::empty({frame.pictures, width, out[0], out[1]}, x.options().memory_format(kLast)),
                   added = bias.defined() ? bias.detach().to(at::kFloat).contiguous() : at::zeros({width}, x.options().dtype(at::kFloat));
  const at::Tensor wide = weight.detach();
  Work work{.weight = {wide.const_data_ptr<Number>(), weight.size(0), c.taps(), weight.size(1)},
            .transposed = transposed,
            .frame = frame,
            .out = out,
            .offsets = std::move(offsets),
            .rows = nullptr,
            .bias = added.const_data_ptr<float>(),
            .y = y.mutable_data_ptr<Number>()};
  if (more.defined()) {
    work.more = more.const_data_ptr<Number>();
    work.more_rows = more.size(1);
    work.rank = more_sums.size(1);
    work.more_sums = more_sums.mutable_data_ptr<float>();
  }
  const bool as_it_is = c.taps() == 1 && border[0] == 0 && border[1] == 0 && work.span() % kTileRows == 0;
  const at::Tensor rows = as_it_is ? x.contiguous(kLast) : framed(x, frame, work.offsets.front() + work.offsets.back() + kTileRows);
  work.rows = rows.const_data_ptr<Number>();
  run(work);
  return y;
}

struct FrozenConv2d : torch::autograd::Function<FrozenConv2d> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const std::vector<int64_t>& numbers) {
    const ConvGeometry c = geometry_of(numbers);
    ctx->saved_data["numbers"] = numbers;
    ctx->saved_data["input"] = std::vector<int64_t>{x.size(2), x.size(3)};
    ctx->save_for_backward({weight});
    return unit_conv2d(x, weight, bias.value_or(at::Tensor()), c);
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::tensor_list grads) {
    const at::Tensor weight = ctx->get_saved_variables()[0];
    const auto input = ctx->saved_data["input"].toIntVector();
    const at::Tensor dx =
        unit_conv2d_input_gradient(grads[0], weight, geometry_of(ctx->saved_data["numbers"].toIntVector()), {input[0], input[1]});
    return {dx, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

bool wants_channels_last(at::ScalarType dtype) { return dtype == at::kBFloat16 && has_matrix_unit(); }

at::Tensor laid_out(const at::Tensor& weight) { return weight.contiguous(kLast); }

bool has_unit_conv2d(const at::Tensor& x, const at::Tensor& weight, const ConvGeometry& c) {
  const auto is = [](const at::Tensor& t) { return t.is_cpu() && t.scalar_type() == at::kBFloat16; };
  const std::array<int64_t, 2> one{1, 1};
  return is(x) && is(weight) && x.numel() > 0 && c.stride == one && c.dilation == one && c.padding[0] < c.kernel[0] &&
         c.padding[1] < c.kernel[1] && weight.size(0) % 32 == 0 && weight.size(1) % 32 == 0 && weight.is_contiguous(kLast) &&
         has_matrix_unit();
}

at::Tensor unit_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& c) {
  return product(x, weight, bias, c, /*transposed=*/false, c.output(x.sizes().slice(2)));
}

ProductAndProjection unit_conv2d_and_projection(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& A, const ConvGeometry& c) {
  const at::Tensor projected = at::empty({weight.size(0), A.size(0)}, A.options());
  const at::Tensor y =
      product(x.detach(), weight, {}, c, /*transposed=*/false, c.output(x.sizes().slice(2)), split_by_taps(A, c.taps()), projected);
  return {y, projected};
}

at::Tensor unit_conv2d_input_gradient(const at::Tensor& dy, const at::Tensor& weight, const ConvGeometry& c, std::array<int64_t, 2> input) {
  return product(dy, weight, {}, c, /*transposed=*/true, input);
}

namespace {

/// Rows [N, C] as one picture of N pixels, and back.
at::Tensor as_picture(const at::Tensor& rows) { return rows.view({1, rows.size(0), 1, rows.size(1)}).permute({0, 3, 1, 2}); }
at::Tensor as_rows(const at::Tensor& picture) { return picture.permute({0, 2, 3, 1}).view({-1, picture.size(1)}); }

}  // namespace

at::Tensor unit_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return as_rows(unit_conv2d(as_picture(x), weight.unsqueeze(-1).unsqueeze(-1), bias, {}));
}

at::Tensor unit_rows_input_gradient(const at::Tensor& dy, const at::Tensor& weight) {
  return as_rows(unit_conv2d_input_gradient(as_picture(dy), weight.unsqueeze(-1).unsqueeze(-1), {}, {dy.size(0), 1}));
}

at::Tensor frozen_conv2d_input_gradient(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight, const ConvGeometry& c) {
  if (has_unit_conv2d(dy, weight, c)) return unit_conv2d_input_gradient(dy, weight, c, {x.size(2), x.size(3)});
  return std::get<0>(at::convolution_backward(dy, x, weight, std::nullopt, c.stride, c.padding, c.dilation, /*transposed=*/false,
                                              /*output_padding=*/at::IntArrayRef({0, 0}), /*groups=*/1, {true, false, false}));
}

at::Tensor frozen_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& c) {
  const auto maybe = bias.defined() ? std::optional(bias) : std::nullopt;
  if (has_unit_conv2d(x, weight, c) && !weight.requires_grad() && !(bias.defined() && bias.requires_grad())) {
    return FrozenConv2d::apply(x, weight, maybe, numbers_of(c));
  }
  return at::conv2d(x, weight, maybe, c.stride, c.padding, c.dilation);
}

}  // namespace lowrank::kernels
