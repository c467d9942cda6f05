#include "lowrank/kernels/lowrank_apply_cpu.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <algorithm>

#include "lowrank/kernels/buffer.h"
#include "lowrank/kernels/rank_arithmetic.h"
#include "lowrank/kernels/rank_mix.h"
#include "lowrank/kernels/rounding.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kRows = 128;    // of a block
constexpr int64_t kColumns = 64;  // whose sums stay in the first-level cache

const float* floats(const at::Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; }

at::Tensor as_floats(const at::Tensor& t) { return t.defined() ? t.detach().to(at::kFloat).contiguous() : t; }

/// Of one thread.
struct Scratch {
  Buffer<float> h, mixed, sums;
  Buffer<at::BFloat16> rounded;
  TileScope scope;
};

/// body(first row, rows, scratch) for blocks of rows, on all threads.
template <class Body>
void for_each_block(int64_t rows, int64_t block, Body&& body) {
  const int64_t blocks = (rows + block - 1) / block;
  tensor::parallel_for(0, blocks, std::max<int64_t>(1, blocks / (4 * at::get_num_threads())), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t b = begin; b < end; ++b) body(b * block, std::min(block, rows - b * block), scratch);
  });
}

/// Asks for memory that is soon read and written, so that it comes while other work is done.
void fetch(int64_t rows, int64_t columns, const at::BFloat16* y, int64_t stride) {
  constexpr int64_t kLine = 64 / sizeof(at::BFloat16);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; j += kLine) __builtin_prefetch(y + i * stride + j, /*write=*/1);
  }
}

/// y ← gain ⊙ (y + p·Q) + bias, some columns at a time; p [rows, depth], Q [depth, width] packed, gain and bias [width] or null.
void add_product(int64_t rows, int64_t width, int64_t depth, const at::BFloat16* p, const at::Tensor& q, at::BFloat16* y, const float* gain,
                 const float* bias, Buffer<float>& buffer) {
  float* sums = buffer.at_least(rows * kColumns);
  for (int64_t j = 0; j < width; j += kColumns) {
    const int64_t columns = std::min(kColumns, width - j);
    fetch(rows, columns, y + j, width);
    tile_product(rows, columns, depth, p, depth, q.const_data_ptr<at::BFloat16>() + j * depth, sums, kColumns, /*add=*/false);
    finish_rows(rows, columns, y + j, width, sums, kColumns, gain ? gain + j : nullptr, bias ? bias + j : nullptr);
  }
}

int64_t block_rows(const LowRankUpdate& update) { return std::max<int64_t>(kRows / std::max(update.out_blocks(), update.in_blocks()), 8); }

/// scale·Bᵀ [columns, k] in the unit's order, zeros after the rank.
at::Tensor packed_expansion(const LowRankUpdate& update, int64_t columns) {
  const at::Tensor b = as_floats(update.B), packed = at::empty({packed_size(columns, b.size(0))}, b.options().dtype(at::kBFloat16));
  Buffer<at::BFloat16> rounded(b.size(0) * columns);
  round_rows(b.size(0), b.size(1), floats(b), b.size(1), static_cast<float>(update.scale), nullptr, rounded.get(), columns);
  pack_turned_tiles(columns, b.size(0), rounded.get(), columns, packed.mutable_data_ptr<at::BFloat16>());
  return packed;
}

/// From rank space to the output: mixing, ·Bᵀ, gain and bias.
class Expansion {
 public:
  Expansion(const LowRankUpdate& update, const at::Tensor& bias, const at::Tensor& y)
      : l_(update.out_blocks()),
        k_(update.B.size(0)),
        m_(update.in_blocks()),
        columns_(TileArithmetic::columns(update.rank())),
        b_(packed_expansion(update, columns_)),
        gain_(as_floats(update.gain)),
        mix_(as_floats(update.mix)),
        bias_(as_floats(bias)),
        y_(y.mutable_data_ptr<at::BFloat16>()) {}

  /// h [count·m, columns] of rows first … first + count.
  void add(int64_t first, int64_t count, const float* h, Scratch& scratch) const {
    if (mix_.defined()) {
      float* mixed = scratch.mixed.at_least(count * l_ * columns_);
      mix_rows(count, l_, m_, columns_, floats(mix_), m_, 1, h, mixed);
      h = mixed;
    }
    at::BFloat16* rounded = scratch.rounded.at_least(count * l_ * columns_);
    round_numbers(count * l_ * columns_, h, rounded);
    add_product(count * l_, k_, columns_, rounded, b_, y_ + first * l_ * k_, floats(gain_), floats(bias_), scratch.sums);
  }

 private:
  int64_t l_, k_, m_, columns_;
  at::Tensor b_, gain_, mix_, bias_;
  at::BFloat16* y_;
};

}  // namespace

bool has_cpu_apply(const LowRankUpdate& update, const at::Tensor& rows) {
  return rows.is_cpu() && rows.scalar_type() == at::kBFloat16 && has_tiles() && update.A.size(1) % 2 == 0 && update.B.size(0) % 2 == 0 &&
         update.rank() % 2 == 0;
}

void cpu_apply_update_(const at::Tensor& y, const at::Tensor& x, const LowRankUpdate& update, const at::Tensor& bias) {
  const int64_t m = update.in_blocks(), n = update.A.size(1), columns = TileArithmetic::columns(update.rank());
  const at::Tensor a = TileArithmetic::of_a(update.A, columns);
  const auto* input = x.const_data_ptr<at::BFloat16>();
  const Expansion expansion(update, bias, y);
  for_each_block(y.size(0), block_rows(update), [&](int64_t first, int64_t count, Scratch& scratch) {
    float* h = scratch.h.at_least(count * m * columns);
    tile_product(count * m, columns, n, input + first * m * n, n, a.const_data_ptr<at::BFloat16>(), h, columns, /*add=*/false);
    expansion.add(first, count, h, scratch);
  });
}

void cpu_apply_projected_(const at::Tensor& y, const at::Tensor& h, const LowRankUpdate& update, const at::Tensor& bias) {
  const Expansion expansion(update, bias, y);
  const int64_t numbers = update.in_blocks() * h.size(1);
  for_each_block(y.size(0), block_rows(update), [&](int64_t first, int64_t count, Scratch& scratch) {
    expansion.add(first, count, h.const_data_ptr<float>() + first * numbers, scratch);
  });
}

at::Tensor cpu_project(const at::Tensor& x, const at::Tensor& A) {
  const int64_t n = A.size(1), columns = TileArithmetic::columns(A.size(0));
  const at::Tensor a = TileArithmetic::of_a(A, columns), h = at::empty({x.size(0), columns}, x.options().dtype(at::kFloat));
  const auto* input = x.const_data_ptr<at::BFloat16>();
  for_each_block(x.size(0), kRows, [&](int64_t first, int64_t count, Scratch&) {
    tile_product(count, columns, n, input + first * n, n, a.const_data_ptr<at::BFloat16>(), h.mutable_data_ptr<float>() + first * columns,
                 columns, /*add=*/false);
  });
  return h;
}

void cpu_add_input_gradient_(const at::Tensor& dx, const at::Tensor& g, const LowRankUpdate& update) {
  const int64_t rows = g.size(0), rank = g.size(1), n = update.A.size(1);
  const at::Tensor a = packed_tiles(update.A);
  const auto* ranks = g.const_data_ptr<at::BFloat16>();
  auto* output = dx.mutable_data_ptr<at::BFloat16>();
  for_each_block(rows, kRows, [&](int64_t first, int64_t count, Scratch& scratch) {
    add_product(count, n, rank, ranks + first * rank, a, output + first * n, nullptr, nullptr, scratch.sums);
  });
}

}  // namespace lowrank::kernels
