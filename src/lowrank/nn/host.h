// The frozen layers that adapters attach to. A host owns its weight, presents it as one matrix W [O, I], and holds an
// ordered list of adapters; attaching changes neither the module tree nor the checkpoint's names. Layer kind and storage
// (dense, quantised) are the host's affair: methods speak to it through project, expand and scale only.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <torch/nn/module.h>
#include <utility>
#include <vector>

#include "lowrank/nn/adapter.h"

namespace lowrank::nn {

/// O and I of the weight as a matrix. Embedding: O = width, I = vocabulary. Convolution: I = in/groups · kh · kw.
struct HostShape {
  std::string_view kind;  // "linear", "embedding", "conv2d"
  int64_t out = 0, in = 0;
  bool one_hot_input = false;  // x is an index that selects one column (embedding)
  // Of a convolution; elsewhere 1.
  std::array<int64_t, 2> kernel{1, 1};
  int64_t groups = 1;
  bool dilated = false;

  bool is_convolution() const { return kind == "conv2d"; }
  int64_t taps() const { return kernel[0] * kernel[1]; }  // neighbouring columns that belong to one input channel
  int64_t channels() const { return in / taps(); }        // inputs that one output sees
  /// The stored shape of a matrix over such inputs, [rows, channels·taps]: with a kernel's two sizes for a convolution.
  std::vector<int64_t> kernels(int64_t rows, int64_t channels) const;
  /// The same for one that has no kernel: [rows, columns], or [rows, columns, 1, 1] for a convolution.
  std::vector<int64_t> pointwise(int64_t rows, int64_t columns) const;
};

class Host : public torch::nn::Module {
 public:
  virtual HostShape shape() const = 0;
  /// The frozen weight as [O, I], dequantised if need be. A view that callers must not write to.
  virtual at::Tensor matrix() const = 0;

  /// x·Mᵀ + bias in this layer's own sense, M [O, I] in W's place; an undefined bias is 0.
  virtual at::Tensor multiply(const at::Tensor& x, const at::Tensor& m, const at::Tensor& bias = {}) const = 0;

  /// x·Wᵀ + bias, by what this layer has for its own frozen weight.
  virtual at::Tensor base(const at::Tensor& x, const at::Tensor& bias) const { return multiply(x, matrix(), bias); }
  /// W·Mᵀ [O, K] for M [K, I] in float32 or wider, in M's dtype.
  at::Tensor project_weight(const at::Tensor& m) const;
  /// The order in which this machine's kernels read a weight of that dtype.
  virtual at::MemoryFormat layout(at::ScalarType /*dtype*/) const { return at::MemoryFormat::Contiguous; }

  /// x·Mᵀ [.., K] for a matrix of few rows, which all groups of a convolution share. With blocks = m the input is m groups of n = I/m that
  /// share M [K, n] (undefined: the identity); the result is [m, .., K], block first, so that mixing blocks is one matrix product.
  virtual at::Tensor project(const at::Tensor& x, const at::Tensor& m, int64_t blocks = 0) const = 0;
  /// y0 + scale·(h·Mᵀ), h [.., R], M [O, R]; with blocks = l, h [l, .., R] and M [O/l, R] (undefined: the identity) each block
  /// fills its O/l outputs.
  /// y0 is the caller's own and may be overwritten.
  virtual at::Tensor add_expanded(const at::Tensor& y0, const at::Tensor& h, const at::Tensor& m, double scale,
                                  int64_t blocks = 0) const = 0;
  /// y with output channel o multiplied by gain[o], gain [O]; or gain [N, O] or [N, 1], a row for each of N parts of y's leading
  /// dimensions.
  virtual at::Tensor scale_outputs(const at::Tensor& y, const at::Tensor& gain) const;

  /// base → each adapter in order → bias, added once and last. `keys`: rows' dropout keys while training, else null.
  at::Tensor forward(const at::Tensor& x, const RowKeys* keys = nullptr);

  /// Throws Error{invalid_argument} when the name is taken, or when a non-additive adapter would share this host.
  /// `salt` separates this layer's dropout masks from other layers' (a hash of its dotted name).
  void attach(const std::string& name, std::shared_ptr<Adapter> adapter, uint64_t salt = 0);
  void detach(const std::string& name);
  const std::vector<std::pair<std::string, std::shared_ptr<Adapter>>>& adapters() const { return adapters_; }

  /// Replaces the weight by W' (folded in float32, rounded once); the original is kept, so unmerge() returns its very bytes.
  void merge();
  void unmerge();
  bool is_merged() const { return original_.defined(); }

  const at::Tensor& weight() const { return weight_; }  // as stored in the checkpoint
  const at::Tensor& bias() const { return bias_; }      // undefined when the layer has none
  /// Puts other storage (same shape and dtype class) behind weight or bias, as a flat parameter buffer does.
  void set_weight(const at::Tensor& weight);
  void set_bias(const at::Tensor& bias);

 protected:
  /// Registers "weight" (frozen) and, if defined, "bias".
  void own(at::Tensor weight, at::Tensor bias);
  virtual at::Tensor add_bias(const at::Tensor& y) const { return y + bias_; }
  virtual at::Tensor weight_from_matrix(const at::Tensor& matrix) const = 0;  // [O, I] → stored shape
  /// One adapter in the shared form, bias included, as one operation; nullopt when this kind has none.
  /// `product` is x·Wᵀ where forward() has it already; it may be overwritten.
  virtual std::optional<at::Tensor> fused(const at::Tensor& /*x*/, const LowRankForm& /*form*/, const at::Tensor& /*product*/) const {
    return std::nullopt;
  }
  virtual at::Tensor projected_weight(const at::Tensor& m) const;
  /// x·Wᵀ without gradients and W·Aᵀ, for which W is read once; nullopt when this kind has no such thing.
  struct ProductAndProjection {
    at::Tensor product, projected;
  };
  virtual std::optional<ProductAndProjection> multiply_and_project(const at::Tensor& /*x*/, const at::Tensor& /*A*/) const {
    return std::nullopt;
  }

 private:
  /// The adapter's form and, where that was found on the way, x·Wᵀ.
  std::pair<std::optional<LowRankForm>, at::Tensor> form_of(const Adapter& adapter, const at::Tensor& x);

  /// W·Aᵀ while an adapter is asked for its form.
  struct Projection {
    at::Tensor of, value;
  };
  Projection known_;
  at::Tensor weight_, bias_, original_;
  std::vector<std::pair<std::string, std::shared_ptr<Adapter>>> adapters_;
  std::vector<uint64_t> salts_;
};

/// Every host below `root` with its dotted name, in module order.
std::vector<std::pair<std::string, Host*>> hosts_of(torch::nn::Module& root);

}  // namespace lowrank::nn
