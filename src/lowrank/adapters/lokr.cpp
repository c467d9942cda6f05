#include "lowrank/adapters/lokr.h"

#include <ATen/ops/add.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "lowrank/adapters/dropout.h"
#include "lowrank/adapters/tucker.h"
#include "lowrank/base/error.h"
#include "lowrank/tensor/random.h"

namespace lowrank::adapters {

namespace {

const LokrOptions& own(const ModuleOptions& options) { return dynamic_cast<const LokrOptions&>(*options.method); }

Factors explicit_factors(int64_t dimension, int64_t outer, const ModuleOptions& options) {
  check(outer > 0 && dimension % outer == 0, ErrorKind::invalid_argument, "factors", "expected a divisor of {} for {}, got {}", dimension,
        options.module, outer);
  return {outer, dimension / outer};
}

/// The tensor that is zero at the start, so that W' = W.
std::string_view zero_tensor(const LokrOptions& options, const LokrLayout& layout) {
  if (options.init == "lycoris") return layout.factored_w2 ? "lokr_w2_b" : "lokr_w2";
  return layout.factored_w1 ? "lokr_w1_a" : "lokr_w1";
}

std::vector<TensorSpec> lokr_tensors(const LokrLayout& at, int64_t rank, const nn::HostShape& host) {
  std::vector<TensorSpec> specs;
  if (at.factored_w1) {
    specs = {{"lokr_w1_a", {at.l, rank}}, {"lokr_w1_b", {rank, at.m}}};
  } else {
    specs = {{"lokr_w1", {at.l, at.m}}};
  }
  if (at.tucker) {
    specs.insert(specs.end(), {{"lokr_t2", host.kernels(rank, rank)}, {"lokr_w2_a", {rank, at.k}}, {"lokr_w2_b", {rank, at.n}}});
  } else if (at.factored_w2) {
    specs.insert(specs.end(), {{"lokr_w2_a", {at.k, rank}}, {"lokr_w2_b", {rank, at.n * host.taps()}}});
  } else {
    specs.push_back({"lokr_w2", host.kernels(at.k, at.n)});
  }
  return specs;
}

/// W1 [l, m] over the blocks of h [m, .., K] → [l, .., K].
at::Tensor mix_blocks(const at::Tensor& w1, const at::Tensor& h) {
  auto shape = h.sizes().vec();
  shape.front() = w1.size(0);
  return at::mm(w1.to(h.scalar_type()), h.reshape({h.size(0), -1})).view(shape);
}

/// Products for each row of x: W2 first, its blocks mixed last; and W1 first.
int64_t mixed_last(const LokrLayout& at) { return at.k * at.m * (at.n + at.l); }
int64_t mixed_first(const LokrLayout& at) { return at.n * at.l * (at.m + at.k); }

/// Whether one product with all of W1 ⊗ W2 beats the blocks' small ones. In two-byte numbers a large product runs at ten times the rate of
/// those, which leave most of a matrix unit idle.
bool is_cheaper_dense(const LokrLayout& at, const at::Tensor& y) {
  return !at.factored_w2 && y.element_size() == 2 && at.l * at.k * at.m * at.n <= 8 * std::min(mixed_last(at), mixed_first(at));
}

}  // namespace

void LokrOptions::declare(OptionTable& table) {
  table.add("factor", factor, "outer factor of both dimensions: a divisor, else the largest below it; -1: near the square root")
      .range(-1, 1 << 20);
  table.add("factors", factors, "outer factors of output and input, two divisors, in place of `factor`");
  table.add("decompose-both", decompose_both, "W1 as a product of rank R too, where that is smaller");
  table.add("full-matrix", full_matrix, "W1 and W2 as full matrices, whatever the rank");
  table.add("tucker", tucker, "of convolutions: W2 by a core of R x R kernels (PEFT's use_effective_conv2d)");
  table.add("init", init, "what starts at zero: W1 (peft) or W2 (lycoris)").choices({"peft", "lycoris"});
  table.add("scale-rule", scale_rule, "alpha/rank always (peft), or 1 when W1 and W2 are both full (lycoris)").choices({"peft", "lycoris"});
  table.add("rank-dropout", rank_dropout, "dropout on the update's output channels").range(0, 0.99);
  table.add("rank-dropout-scale", rank_dropout_scale, "divide what rank dropout keeps by 1 - p");
  table.add("module-dropout", module_dropout, "probability of leaving the whole update out").range(0, 0.99);
}

Factors factorize(int64_t dimension, int64_t factor) {
  if (factor > 0 && dimension % factor == 0) return {factor, dimension / factor};
  Factors best{1, dimension};
  for (int64_t divisor = 2; divisor * divisor <= dimension && (factor == -1 || divisor <= factor); ++divisor) {
    if (dimension % divisor == 0) best = {divisor, dimension / divisor};
  }
  return best;
}

LokrLayout lokr_layout(const ModuleOptions& options, const nn::HostShape& host) {
  const LokrOptions& o = own(options);
  check(o.factor != 0, ErrorKind::invalid_argument, "factor", "expected -1 or a positive number, got 0");
  check(o.factors.empty() || o.factors.size() == 2, ErrorKind::invalid_argument, "factors",
        "expected the outer factors of output and input, got {} numbers", o.factors.size());
  const Factors out = o.factors.empty() ? factorize(host.out, o.factor) : explicit_factors(host.out, o.factors[0], options);
  const Factors in = o.factors.empty() ? factorize(host.channels(), o.factor) : explicit_factors(host.channels(), o.factors[1], options);
  const bool factored_w2 = !o.full_matrix && 2 * options.rank < std::max(out.inner, in.inner);
  return {.l = out.outer,
          .k = out.inner,
          .m = in.outer,
          .n = in.inner,
          .factored_w1 = !o.full_matrix && o.decompose_both && 2 * options.rank < std::max(out.outer, in.outer),
          .factored_w2 = factored_w2,
          .tucker = o.tucker && factored_w2 && host.taps() > 1};
}

double lokr_scale(const ModuleOptions& options, const LokrLayout& layout) {
  const bool both_full = !layout.factored_w1 && !layout.factored_w2;
  if (both_full && own(options).scale_rule == "lycoris") return 1.0;
  return options.alpha / static_cast<double>(options.rank);
}

LokrAdapter::LokrAdapter(const ModuleOptions& options, const nn::Host& host)
    : layout_(lokr_layout(options, host.shape())),
      scale_(lokr_scale(options, layout_)),
      rank_dropout_(own(options).rank_dropout),
      module_dropout_(own(options).module_dropout),
      rank_dropout_scale_(own(options).rank_dropout_scale) {
  const auto dtype = host.weight().scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  for (const TensorSpec& spec : lokr_tensors(layout_, options.rank, host.shape())) {
    at::Tensor value = at::zeros(spec.shape, host.weight().options().dtype(dtype));
    if (spec.name != zero_tensor(own(options), layout_)) {
      tensor::fill_kaiming_(value, RandomStream(options.seed, "init:" + spec.name + ":" + options.module));
    }
    register_parameter(spec.name, value);
  }
}

at::Tensor LokrAdapter::w1() const {
  return layout_.factored_w1 ? at::mm(parameters_["lokr_w1_a"], parameters_["lokr_w1_b"]) : parameters_["lokr_w1"];
}

at::Tensor LokrAdapter::w2() const { return layout_.factored_w2 ? at::mm(B(), A()) : parameters_["lokr_w2"].flatten(1); }

at::Tensor LokrAdapter::A() const {
  const at::Tensor& b = parameters_["lokr_w2_b"];
  return layout_.tucker ? tucker_product(parameters_["lokr_t2"], b) : b;
}

at::Tensor LokrAdapter::B() const {
  const at::Tensor& a = parameters_["lokr_w2_a"];
  return layout_.tucker ? a.t() : a;
}

at::Tensor LokrAdapter::apply_to_weight(const at::Tensor& w) const {
  const auto wide = w.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return w.to(wide) + (multiplier() * scale_) * at::kron(w1().to(wide), w2().to(wide));
}

std::optional<nn::LowRankForm> LokrAdapter::low_rank(const nn::Host& host) const {
  if (!layout_.factored_w2 || host.shape().groups > 1) return std::nullopt;
  return nn::LowRankForm{.A = A(), .B = B(), .scale = multiplier() * scale_, .gain = {}, .mix = w1()};
}

at::Tensor LokrAdapter::add_update(const at::Tensor& x, const at::Tensor& y0, const nn::Host& host) const {
  const auto [l, k, m, n, factored_w1, factored_w2, tucker] = layout_;
  const double s = multiplier() * scale_;
  const nn::HostShape shape = host.shape();
  if (shape.groups > 1 || is_cheaper_dense(layout_, y0)) return at::add(y0, host.multiply(x, at::kron(w1(), w2()).to(y0.scalar_type())), s);
  if (factored_w2) {
    const at::Tensor h = host.project(x, A(), m);  // [m, .., R]
    return host.add_expanded(y0, mix_blocks(w1(), h), B(), s, l);
  }
  const at::Tensor full = w2();
  // A convolution's blocks cannot be mixed before its taps are summed.
  if (shape.is_convolution() || mixed_last(layout_) <= mixed_first(layout_))
    return host.add_expanded(y0, mix_blocks(w1(), host.project(x, full, m)), {}, s, l);
  return host.add_expanded(y0, mix_blocks(w1(), host.project(x, {}, m)), full, s, l);
}

at::Tensor LokrAdapter::forward(const at::Tensor& x, const at::Tensor& y0, const nn::Host& host, const nn::DropoutSource& source) {
  if (source.keys == nullptr || !has_dropout()) return add_update(x, y0, host);
  const at::Tensor update = add_update(x, at::zeros_like(y0), host);
  at::Tensor mask = dropout_mask(source, DropoutSite::module, 1, module_dropout_, y0.options());
  if (rank_dropout_ > 0) {
    mask = mask * dropout_mask(source, DropoutSite::rank, host.shape().out, rank_dropout_, y0.options());
    if (!rank_dropout_scale_) mask = mask * (1 - rank_dropout_);
  }
  return y0 + host.scale_outputs(update, mask);
}

namespace {

class Lokr : public Method {
 public:
  std::string_view name() const override { return "lokr"; }
  std::string_view title() const override { return "LoKr"; }
  std::string_view paper() const override { return "arXiv 2309.14859"; }
  std::unique_ptr<MethodOptions> make_options() const override { return std::make_unique<LokrOptions>(); }
  bool supports(const nn::HostShape& host) const override { return host.kind == "linear" || host.is_convolution(); }
  std::vector<TensorSpec> tensors(const ModuleOptions& options, const nn::HostShape& host) const override {
    return lokr_tensors(lokr_layout(options, host), options.rank, host);
  }
  std::shared_ptr<nn::Adapter> create(const ModuleOptions& options, const nn::Host& host) const override {
    return std::make_shared<LokrAdapter>(options, host);
  }
  PeftSpelling peft() const override {
    return {"LOKR",
            "alpha",
            "",
            {{"factor", "decompose_factor"},
             {"decompose-both", "decompose_both"},
             {"tucker", "use_effective_conv2d"},
             {"rank-dropout", "rank_dropout"},
             {"rank-dropout-scale", "rank_dropout_scale"},
             {"module-dropout", "module_dropout"}},
            {},
            {"factors", "full-matrix", "init", "scale-rule"}};
  }
  PeftModule peft_module(const ModuleOptions& options, const nn::HostShape& host) const override;
  double effective_scale(const ModuleOptions& options, const nn::HostShape& host) const override {
    return lokr_scale(options, lokr_layout(options, host));
  }
  double default_learning_rate() const override { return 3e-3; }
};

// PEFT has no full-matrix: it takes W1 and W2 whole when the rank is at least half their larger side.
PeftModule Lokr::peft_module(const ModuleOptions& options, const nn::HostShape& host) const {
  const LokrLayout at = lokr_layout(options, host);
  const Factors out = factorize(host.out, own(options).factor), in = factorize(host.channels(), own(options).factor);
  check(out.outer == at.l && in.outer == at.m, ErrorKind::unsupported, options.module,
        "PEFT has one decompose_factor for both dimensions: expected outer factors {} and {}, got {} and {}", out.outer, in.outer, at.l,
        at.m);
  int64_t rank = options.rank;
  if (own(options).full_matrix) {
    const int64_t larger = std::max({at.k, at.n, own(options).decompose_both ? std::max(at.l, at.m) : int64_t{0}});
    rank = std::max(rank, (larger + 1) / 2);
  }
  return {rank, lokr_scale(options, at) * static_cast<double>(rank)};
}

}  // namespace

const Method& lokr_method() {
  static const Lokr method;
  return method;
}

}  // namespace lowrank::adapters
