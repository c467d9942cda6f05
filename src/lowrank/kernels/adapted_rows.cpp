#include "lowrank/kernels/adapted_rows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <algorithm>

#include "lowrank/kernels/packed_weights.h"
#include "lowrank/kernels/rank_mix.h"
#include "lowrank/kernels/rounding.h"
#include "lowrank/kernels/tile_product.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kTileRows = 16, kTileDepth = 32, kMostRows = 192;  // the last of a block

int64_t padded(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

at::Tensor as_floats(const at::Tensor& t) { return t.defined() ? t.detach().to(at::kFloat).contiguous() : t; }

const float* floats(const at::Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; }

/// pack(block, first column in it, columns) for every panel of every block, on all threads.
template <class Pack>
void for_each_panel(int64_t blocks, int64_t width, Pack&& pack) {
  const int64_t panels = (width + kTilePanel - 1) / kTilePanel;
  tensor::parallel_for(0, blocks * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % panels * kTilePanel;
      pack(i / panels, first, std::min(kTilePanel, width - first));
    }
  });
}

/// Rows of one thread between products.
struct Scratch {
  Buffer<float> h, mixed, sums;
  Buffer<at::BFloat16> rounded;
  TileScope scope;
};

}  // namespace

bool has_adapted_rows(const LowRankUpdate& update, const at::Tensor& rows) {
  return rows.is_cpu() && rows.scalar_type() == at::kBFloat16 && has_tiles() && rows.size(0) > 0 && update.A.size(1) % 2 == 0 &&
         update.B.size(0) % 2 == 0;
}

AdaptedFactors::AdaptedFactors(int64_t depth, int64_t blocks, int64_t width, int64_t rank)
    : depth_(depth), blocks_(blocks), width_(width), rank_depth_(padded(rank, kTileDepth)), narrow_(packed_size(rank_depth_, width)) {}

AdaptedFactors AdaptedFactors::of_output(const at::Tensor& weight, const LowRankUpdate& update) {
  AdaptedFactors factors(weight.size(1), update.out_blocks(), update.B.size(0), update.rank());
  const auto* w = weight.const_data_ptr<at::BFloat16>();
  const int64_t depth = factors.depth_, width = factors.width_, block = packed_size(depth, width);
  factors.frozen_ = packed_weight(weight, {/*turned=*/true, factors.blocks_}, factors.blocks_ * block, [&](at::BFloat16* packed) {
    for_each_panel(factors.blocks_, width, [&](int64_t b, int64_t first, int64_t count) {
      pack_turned_tiles(depth, count, w + (b * width + first) * depth, depth, packed + b * block + first * depth);
    });
  });
  const at::Tensor b = as_floats(update.B);
  Buffer<at::BFloat16> rounded(width * factors.rank_depth_);
  round_rows(width, update.rank(), floats(b), update.rank(), static_cast<float>(update.scale), nullptr, rounded.get(), factors.rank_depth_);
  pack_turned_tiles(factors.rank_depth_, width, rounded.get(), factors.rank_depth_, factors.narrow_.get());
  return factors;
}

AdaptedFactors AdaptedFactors::of_input_gradient(const at::Tensor& weight, const LowRankUpdate& update) {
  AdaptedFactors factors(weight.size(0), update.in_blocks(), update.A.size(1), update.rank());
  const auto* w = weight.const_data_ptr<at::BFloat16>();
  const at::Tensor a = as_floats(update.A);
  const int64_t depth = factors.depth_, width = factors.width_, stride = weight.size(1), block = packed_size(depth, width);
  factors.frozen_ = packed_weight(weight, {/*turned=*/false, factors.blocks_}, factors.blocks_ * block, [&](at::BFloat16* packed) {
    for_each_panel(factors.blocks_, width, [&](int64_t b, int64_t first, int64_t count) {
      pack_tiles(depth, count, w + b * width + first, stride, packed + b * block + first * depth);
    });
  });
  Buffer<at::BFloat16> rounded(factors.rank_depth_ * width);
  round_rows(update.rank(), width, floats(a), width, 1, nullptr, rounded.get(), width);
  std::fill(rounded.get() + update.rank() * width, rounded.get() + factors.rank_depth_ * width, at::BFloat16(0.0F));
  pack_tiles(factors.rank_depth_, width, rounded.get(), width, factors.narrow_.get());
  return factors;
}

void AdaptedFactors::multiply(int64_t rows, const at::BFloat16* x, const at::BFloat16* h, const float* gain, const float* bias,
                              at::BFloat16* to, Buffer<float>& buffer) const {
  float* sums = buffer.at_least(rows * kTilePanel);
  const int64_t block = packed_size(depth_, width_), stride = blocks_ * width_;
  for (int64_t b = 0; b < blocks_; ++b) {
    for (int64_t first = 0; first < width_; first += kTilePanel) {
      const int64_t count = std::min(kTilePanel, width_ - first), column = b * width_ + first;
      tile_product(rows, count, depth_, x, depth_, frozen_->get() + b * block + first * depth_, sums, kTilePanel, /*add=*/false);
      tile_product(rows, count, rank_depth_, h + b * rank_depth_, blocks_ * rank_depth_, narrow_.get() + first * rank_depth_, sums,
                   kTilePanel, /*add=*/true);
      write_sums(rows, count, sums, kTilePanel, gain ? gain + column : nullptr, bias ? bias + column : nullptr, to + column, stride);
    }
  }
}

at::Tensor adapted_rows(const at::Tensor& x, const at::Tensor& weight, const LowRankUpdate& update, const at::Tensor& bias) {
  const int64_t rows = x.size(0), in = x.size(1), out = weight.size(0), l = update.out_blocks(), m = update.in_blocks(),
                n = update.A.size(1), rank = update.rank(), columns = padded(rank, kTileRows);
  const at::Tensor gain = as_floats(update.gain), mix = as_floats(update.mix), added = as_floats(bias), a = as_floats(update.A),
                   y = at::empty({rows, out}, x.options());
  const AdaptedFactors factors = AdaptedFactors::of_output(weight, update);
  Buffer<at::BFloat16> rounded_a(rank * n), packed_a(packed_size(n, rank));
  round_rows(rank, n, floats(a), n, 1, nullptr, rounded_a.get(), n);
  pack_turned_tiles(n, rank, rounded_a.get(), n, packed_a.get());
  const auto* input = x.const_data_ptr<at::BFloat16>();
  auto* output = y.mutable_data_ptr<at::BFloat16>();
  // Rows' results do not depend on how they are divided.
  const int64_t share = (rows + at::get_num_threads() - 1) / at::get_num_threads(), parts = (share + kMostRows - 1) / kMostRows,
                block = padded((share + parts - 1) / parts, kTileRows);
  tensor::parallel_for(0, (rows + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t first = begin * block; first < std::min(rows, end * block); first += block) {
      const int64_t count = std::min(block, rows - first), depth = factors.rank_depth();
      float* h = scratch.h.at_least(count * m * columns);
      tile_product(count * m, columns, n, input + first * in, n, packed_a.get(), h, columns, /*add=*/false);
      if (mix.defined()) {
        float* mixed = scratch.mixed.at_least(count * l * columns);
        mix_rows(count, l, m, columns, floats(mix), m, 1, h, mixed);
        h = mixed;
      }
      at::BFloat16* rounded = scratch.rounded.at_least(count * l * depth);
      round_rows(count * l, columns, h, columns, 1, nullptr, rounded, depth);
      factors.multiply(count, input + first * in, rounded, floats(gain), floats(added), output + first * out, scratch.sums);
    }
  });
  return y;
}

}  // namespace lowrank::kernels
