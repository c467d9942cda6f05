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
constexpr int64_t kMostGroup = 128, kMostPiece = 1536;  // columns and rows of Q that are packed at a time, for the second-level cache
constexpr int64_t kLeastPart = 512;                     // rows that are worth packing Q for again

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

AdaptedFactors::AdaptedFactors(const at::Tensor& weight, bool turned, int64_t blocks, int64_t width, int64_t rank)
    : weight_(weight.const_data_ptr<at::BFloat16>()),
      turned_(turned),
      depth_(weight.size(turned ? 1 : 0)),
      blocks_(blocks),
      width_(width),
      rank_depth_(padded(rank, kTileDepth)),
      narrow_(packed_size(rank_depth_, width)) {
  keep(weight);
}

void AdaptedFactors::pack(int64_t b, int64_t first, int64_t count, int64_t k, int64_t depth, at::BFloat16* packed) const {
  const int64_t column = b * width_ + first;
  if (turned_)
    pack_turned_tiles(depth, count, weight_ + column * depth_ + k, depth_, packed);
  else
    pack_tiles(depth, count, weight_ + k * blocks_ * width_ + column, blocks_ * width_, packed);
}

void AdaptedFactors::keep(const at::Tensor& weight) {
  const int64_t block = packed_size(depth_, width_);
  frozen_ = packed_weight(weight, {turned_, blocks_}, blocks_ * block, [&](at::BFloat16* packed) {
    for_each_panel(blocks_, width_,
                   [&](int64_t b, int64_t first, int64_t count) { pack(b, first, count, 0, depth_, packed + b * block + first * depth_); });
  });
}

AdaptedFactors AdaptedFactors::of_output(const at::Tensor& weight, const LowRankUpdate& update) {
  AdaptedFactors factors(weight, /*turned=*/true, update.out_blocks(), update.B.size(0), update.rank());
  const at::Tensor b = as_floats(update.B);
  Buffer<at::BFloat16> rounded(factors.width_ * factors.rank_depth_);
  round_rows(factors.width_, update.rank(), floats(b), update.rank(), static_cast<float>(update.scale), nullptr, rounded.get(),
             factors.rank_depth_);
  pack_turned_tiles(factors.rank_depth_, factors.width_, rounded.get(), factors.rank_depth_, factors.narrow_.get());
  return factors;
}

AdaptedFactors AdaptedFactors::of_input_gradient(const at::Tensor& weight, const LowRankUpdate& update) {
  AdaptedFactors factors(weight, /*turned=*/false, update.in_blocks(), update.A.size(1), update.rank());
  const at::Tensor a = as_floats(update.A);
  const int64_t width = factors.width_;
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

void AdaptedFactors::multiply_all(int64_t rows, const at::BFloat16* x, const at::BFloat16* h, const float* gain, const float* bias,
                                  at::BFloat16* to, const MoreFactors& more) const {
  const int64_t groups = (width_ + kMostGroup - 1) / kMostGroup, group = padded((width_ + groups - 1) / groups, kTilePanel),
                parts = rows >= kLeastPart ? 2 : 1, stride = blocks_ * width_;
  tensor::parallel_for(0, blocks_ * groups * parts, 1, [&](int64_t begin, int64_t end) {
    thread_local Buffer<at::BFloat16> packed;
    thread_local Buffer<float> sums, more_sums;
    const TileScope scope;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t part = item % parts, b = item / parts / groups, first = item / parts % groups * group,
                    count = std::min(group, width_ - first), column = b * width_ + first, row = padded(rows * part / parts, kTileRows),
                    height = (part + 1 < parts ? padded(rows * (part + 1) / parts, kTileRows) : rows) - row;
      if (count <= 0) continue;
      float *c = sums.at_least(height * group), *extra = part == 0 && more.count > 0 ? more_sums.at_least(more.count * group) : nullptr;
      for (int64_t k = 0; k < depth_; k += kMostPiece) {
        const int64_t depth = std::min(kMostPiece, depth_ - k);
        at::BFloat16* q = packed.at_least(packed_size(depth, count));
        pack(b, first, count, k, depth, q);
        tile_product(height, count, depth, x + row * depth_ + k, depth_, q, c, group, /*add=*/k > 0);
        if (extra) tile_product(more.count, count, depth, more.rows + k, depth_, q, extra, group, /*add=*/k > 0);
      }
      if (extra) join_parts(more.rank, count, extra, group, more.projected + column * more.rank);
      if (rank_depth_ > 0)
        tile_product(height, count, rank_depth_, h + (row * blocks_ + b) * rank_depth_, blocks_ * rank_depth_,
                     narrow_.get() + first * rank_depth_, c, group, /*add=*/true);
      write_sums(height, count, c, group, gain ? gain + column : nullptr, bias ? bias + column : nullptr, to + row * stride + column,
                 stride);
    }
  });
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
                block = padded((share + parts - 1) / parts, kTileRows), depth = factors.rank_depth();
  const bool kept = factors.is_kept();
  const Buffer<at::BFloat16> all(kept ? 0 : rows * l * depth);
  tensor::parallel_for(0, (rows + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t first = begin * block; first < std::min(rows, end * block); first += block) {
      const int64_t count = std::min(block, rows - first);
      float* h = scratch.h.at_least(count * m * columns);
      tile_product(count * m, columns, n, input + first * in, n, packed_a.get(), h, columns, /*add=*/false);
      if (mix.defined()) {
        float* mixed = scratch.mixed.at_least(count * l * columns);
        mix_rows(count, l, m, columns, floats(mix), m, 1, h, mixed);
        h = mixed;
      }
      at::BFloat16* rounded = kept ? scratch.rounded.at_least(count * l * depth) : all.get() + first * l * depth;
      round_rows(count * l, columns, h, columns, 1, nullptr, rounded, depth);
      if (kept) factors.multiply(count, input + first * in, rounded, floats(gain), floats(added), output + first * out, scratch.sums);
    }
  });
  if (!kept) factors.multiply_all(rows, input, all.get(), floats(gain), floats(added), output);
  return y;
}

std::optional<ProductAndProjection> frozen_rows_and_projection(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& A) {
  const int64_t rank = A.size(0);
  const bool can = has_adapted_rows({A, weight, {}, {}, 1}, x) && weight.scalar_type() == at::kBFloat16 && weight.is_contiguous() &&
                   A.scalar_type() == at::kFloat && rank % 2 == 0;
  if (!can) return std::nullopt;
  const AdaptedFactors factors(weight, /*turned=*/true, /*blocks=*/1, weight.size(0), /*rank=*/0);
  if (factors.is_kept()) return std::nullopt;
  const at::Tensor split = split_by_taps(A, /*taps=*/1), projected = at::empty({weight.size(0), rank}, A.options()),
                   y = at::empty({x.size(0), weight.size(0)}, x.options());
  factors.multiply_all(x.size(0), x.const_data_ptr<at::BFloat16>(), nullptr, nullptr, nullptr, y.mutable_data_ptr<at::BFloat16>(),
                       {split.size(1), split.const_data_ptr<at::BFloat16>(), rank, projected.mutable_data_ptr<float>()});
  return ProductAndProjection{y, projected};
}

}  // namespace lowrank::kernels
