// The laws: what every method promises on every host in every dtype. A new method gets them by its line in adapters.def.
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/csrc/autograd/autograd.h>

#include "law_case.h"
#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/tolerance.h"

namespace lowrank::test {

namespace {

using adapters::Method;
using adapters::methods;

std::vector<LawCase> cases(const std::vector<at::ScalarType>& dtypes) {
  std::vector<LawCase> all;
  for (const Method* method : methods()) {
    for (const auto& kind : kHostKinds) {
      if (!method->supports(make_new_host(kind)->shape())) continue;
      for (const auto dtype : dtypes) all.push_back({method, kind, dtype});
    }
  }
  return all;
}

class Laws : public testing::TestWithParam<LawCase> {
 protected:
  const Method& method() const { return *GetParam().method; }
  at::ScalarType dtype() const { return GetParam().dtype; }
  double bound() const {
    // The libraries' float32 convolutions are 1.7e-5 from each other without AVX-512, 6.9e-5 on an H200.
    if (GetParam().host != "conv2d" || dtype() != at::kFloat) return tolerance(dtype());
    if (test_device().is_cuda()) return 1e-4;
    return at::get_cpu_capability() == "AVX512" ? tolerance(dtype()) : 3e-5;
  }
  bool has_input_gradient() const { return input(1).is_floating_point(); }
  std::shared_ptr<nn::Host> host(bool with_fused = true) const { return make_host(GetParam().host, dtype(), with_fused); }
  at::Tensor input(int64_t rows = kRows) const { return make_input(GetParam().host, dtype(), rows); }

  /// What the layer must give: itself with apply_to_weight(W) for W, in at least float32.
  at::Tensor expected(const nn::Host& layer, const nn::Adapter& adapter, const at::Tensor& x) const {
    const at::Tensor w = adapter.apply_to_weight(layer.matrix());
    const auto wide = [&](const at::Tensor& t) { return t.defined() && t.is_floating_point() ? t.to(w.scalar_type()) : t; };
    return layer.multiply(wide(x), w, wide(layer.bias()));
  }
};

/// Laws about gradients as formulas: sums in bfloat16 say nothing about those.
class GradientLaws : public Laws {};
/// Laws by finite differences, which need float64, and thousands of products too small to share between threads.
class DifferenceLaws : public Laws {
 protected:
  void SetUp() override { at::set_num_threads(1); }
  void TearDown() override { at::set_num_threads(2); }
};

/// The gradients of Σ y ⊙ (fixed) for x (if it can have one) and then every parameter.
std::vector<at::Tensor> gradients(nn::Host& layer, nn::Adapter& adapter, const at::Tensor& x) {
  const at::Tensor input = x.is_floating_point() ? x.detach().clone().requires_grad_() : x;
  const at::Tensor y = layer.forward(input);
  std::vector<at::Tensor> wanted = adapter.parameters();
  if (input.requires_grad()) wanted.insert(wanted.begin(), input);
  return torch::autograd::grad({(y.to(at::kDouble) * fixed(y.sizes(), 5)).sum()}, wanted);
}

}  // namespace

TEST_P(Laws, AFreshAdapterChangesNothing) {
  const auto layer = host();
  const at::Tensor before = layer->forward(input());
  const Configured options(method());
  const auto adapter = method().create(*options, *layer);
  EXPECT_TRUE(close(adapter->apply_to_weight(layer->matrix()), layer->matrix(), std::min(bound(), 1e-6)));
  layer->attach("a", adapter);
  EXPECT_TRUE(close(layer->forward(input()), before, bound()));
}

TEST_P(Laws, ForwardIsTheAdaptedWeight) {
  for (const double multiplier : {1.0, 0.3, 0.0}) {
    const auto layer = host();
    const Configured options(method());
    const auto adapter = make_perturbed(method(), *options, *layer);
    adapter->set_multiplier(multiplier);
    layer->attach("a", adapter);
    EXPECT_TRUE(close(layer->forward(input()), expected(*layer, *adapter, input()), bound())) << "multiplier " << multiplier;
  }
}

TEST_P(Laws, RowsDoNotDependOnEachOtherAndLeadingDimensionsAreKept) {
  const auto layer = host();
  const Configured options(method());
  layer->attach("a", make_perturbed(method(), *options, *layer));
  const at::Tensor x = input(), whole = layer->forward(x);
  for (const int64_t row : {int64_t{0}, kRows - 1}) EXPECT_TRUE(close(layer->forward(x.slice(0, row, row + 1))[0], whole[row], bound()));
  if (layer->shape().is_convolution()) return;  // pictures have one such dimension
  EXPECT_TRUE(close(layer->forward(x.unflatten(0, {2, kRows / 2})), whole.unflatten(0, {2, kRows / 2}), bound()));
}

TEST_P(GradientLaws, FusedGenericAndDensePathsAgreeInGradients) {
  const Configured options(method());
  const auto layer = host(), plain = host(/*with_fused=*/false);
  const auto adapter = make_perturbed(method(), *options, *layer), twin = make_perturbed(method(), *options, *plain);
  layer->attach("a", adapter);
  plain->attach("a", twin);
  const auto fast = gradients(*layer, *adapter, input()), slow = gradients(*plain, *twin, input());
  std::vector<at::Tensor> wanted = twin->parameters();
  const at::Tensor x = has_input_gradient() ? input().requires_grad_() : input(), y = expected(*plain, *twin, x);
  if (has_input_gradient()) wanted.insert(wanted.begin(), x);
  const auto dense = torch::autograd::grad({(y.to(at::kDouble) * fixed(y.sizes(), 5)).sum()}, wanted);
  ASSERT_EQ(fast.size(), dense.size());
  for (size_t i = 0; i < fast.size(); ++i) {
    EXPECT_TRUE(close(fast[i], dense[i], bound())) << "fast path, gradient " << i;
    EXPECT_TRUE(close(slow[i], dense[i], bound())) << "generic path, gradient " << i;
  }
}

TEST_P(Laws, MergedEqualsUnmergedAndUnmergeRestoresTheBytes) {
  const auto layer = host();
  const at::Tensor stored = layer->weight(), bytes = stored.clone();
  const Configured options(method());
  layer->attach("a", make_perturbed(method(), *options, *layer));
  const at::Tensor before = layer->forward(input());
  layer->merge();
  EXPECT_FALSE(at::equal(layer->weight(), bytes));
  EXPECT_TRUE(close(layer->forward(input()), before, bound()));
  layer->unmerge();
  EXPECT_TRUE(layer->weight().is_same(stored));
  EXPECT_TRUE(at::equal(layer->weight(), bytes));
  EXPECT_TRUE(at::equal(layer->forward(input()), before));
}

TEST_P(DifferenceLaws, EveryParameterGetsTheGradientOfFiniteDifferences) {
  for (const double multiplier : {1.0, 0.6}) {
    Configured options(method());
    options.set("gradient", "full");  // a gradient that is cut on purpose is not the function's
    const auto layer = host();
    const auto adapter = make_perturbed(method(), *options, *layer);
    adapter->set_multiplier(multiplier);
    layer->attach("a", adapter);
    at::Tensor x = input(layer->shape().is_convolution() ? 1 : 4);
    std::vector<at::Tensor> inputs = adapter->parameters();
    if (has_input_gradient()) inputs.insert(inputs.begin(), x);
    const auto analytic = gradients(*layer, *adapter, x);
    ASSERT_EQ(analytic.size(), inputs.size());
    const at::NoGradGuard no_grad;
    const auto loss = [&] {
      const at::Tensor y = layer->forward(x);
      return (y * fixed(y.sizes(), 5)).sum().item<double>();
    };
    for (size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_GT(analytic[i].abs().max().item<double>(), 0) << "input " << i;
      at::Tensor numeric = at::empty_like(analytic[i]), flat = inputs[i].view({-1});
      for (int64_t e = 0; e < flat.numel(); ++e) {
        const double step = 1e-5, value = flat[e].item<double>();
        flat[e].fill_(value + step);
        const double up = loss();
        flat[e].fill_(value - step);
        const double down = loss();
        flat[e].fill_(value);
        numeric.view({-1})[e].fill_((up - down) / (2 * step));
      }
      // 1e-7: the differences' own error, observed 2e-9.
      EXPECT_TRUE(close(analytic[i], numeric, 1e-7)) << "input " << i << ", multiplier " << multiplier;
    }
  }
}

TEST_P(Laws, TensorsAreAsDeclared) {
  const auto layer = host();
  const Configured options(method());
  const auto adapter = method().create(*options, *layer);
  const auto specs = method().tensors(*options, layer->shape());
  const auto parameters = adapter->named_parameters();
  ASSERT_EQ(parameters.size(), specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    EXPECT_EQ(parameters[i].key(), specs[i].name);
    EXPECT_EQ(parameters[i].value().sizes().vec(), specs[i].shape);
    EXPECT_EQ(parameters[i].value().scalar_type(), dtype() == at::kDouble ? at::kDouble : at::kFloat);
    EXPECT_TRUE(parameters[i].value().requires_grad());
  }
}

TEST_P(Laws, EqualSeedsGiveEqualAdapters) {
  const auto layer = host();
  const Configured options(method());
  const auto one = method().create(*options, *layer)->parameters(), two = method().create(*options, *layer)->parameters();
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(at::equal(one[i], two[i]));
}

TEST_P(Laws, AdditiveMethodsCommuteAndOthersRefuseToShare) {
  const Configured options(method());
  for (const Method* other : methods()) {
    const auto layer = host(), reversed = host();
    if (!other->supports(layer->shape())) continue;
    const Configured other_options(*other);
    const auto first = make_perturbed(method(), *options, *layer), second = make_perturbed(*other, *other_options, *layer);
    layer->attach("first", first);
    if (!first->is_additive() || !second->is_additive()) {
      EXPECT_LOWRANK_ERROR(layer->attach("second", second), ErrorKind::invalid_argument, "not additive");
      EXPECT_EQ(layer->adapters().size(), 1U);
      continue;
    }
    layer->attach("second", second);
    reversed->attach("second", second);
    reversed->attach("first", first);
    EXPECT_TRUE(close(layer->forward(input()), reversed->forward(input()), bound())) << other->name();
  }
}

TEST_P(Laws, InputsAndBaseAreUntouched) {
  const auto layer = host();
  const at::Tensor x = input(), x_before = x.clone(), w_before = layer->weight().clone();
  const Configured options(method());
  const auto adapter = make_perturbed(method(), *options, *layer);
  layer->attach("a", adapter);
  layer->forward(x).sum().backward();
  adapter->apply_to_weight(layer->matrix());
  EXPECT_TRUE(at::equal(x, x_before));
  EXPECT_TRUE(at::equal(layer->weight(), w_before));
  EXPECT_FALSE(layer->weight().grad().defined());
  EXPECT_FALSE(layer->bias().defined() && layer->bias().grad().defined());
}

TEST_P(Laws, EvaluationHasNoRandomness) {
  Configured options(method());
  options.set("dropout", 0.5);
  const Configured without(method());
  const auto layer = host(), plain = host();
  layer->attach("a", make_perturbed(method(), *options, *layer));
  plain->attach("a", make_perturbed(method(), *without, *plain));
  EXPECT_TRUE(at::equal(layer->forward(input()), layer->forward(input())));
  EXPECT_TRUE(close(layer->forward(input()), plain->forward(input()), bound()));
}

TEST_P(Laws, DropoutBelongsToTheRowsKeyAndLeavesTheMean) {
  Configured options(method());
  if (options.set("dropout", 0.3) == 0) GTEST_SKIP() << "no dropout";
  const auto layer = host();
  const auto adapter = make_perturbed(method(), *options, *layer);
  layer->attach("a", adapter, /*salt=*/99);

  nn::RowKeys keys, reversed;
  for (uint64_t i = 0; i < kRows; ++i) keys.push_back(1000 + 7 * i);
  reversed.assign(keys.rbegin(), keys.rend());
  const at::Tensor x = input(), y = layer->forward(x, &keys);
  EXPECT_TRUE(close(layer->forward(x.flip(0), &reversed), y.flip(0), bound()));
  EXPECT_EQ(!has_input_gradient(), at::equal(y, layer->forward(x))) << "indices are not dropped, rows are";

  const int64_t draws = 6000;
  nn::RowKeys many;
  for (int64_t i = 0; i < draws; ++i) many.push_back(static_cast<uint64_t>(i));
  auto shape = x.sizes().vec();
  shape.front() = draws;
  const at::Tensor same = x.slice(0, 0, 1).expand(shape), outputs = layer->forward(same, &many).to(at::kDouble);
  const at::Tensor mean = layer->forward(x.slice(0, 0, 1)).to(at::kDouble)[0], error = (outputs.mean(0) - mean).abs();
  const at::Tensor allowed = 5 * outputs.std(0) / std::sqrt(static_cast<double>(draws)) + bound() * mean.abs().clamp_min(1);
  EXPECT_LT((error - allowed).max().item<double>(), 0) << "the mean is off by more than five standard errors";
}

std::string name_of(const testing::TestParamInfo<LawCase>& info) {
  return std::string(info.param.method->name()) + "_" + info.param.host + "_" + c10::toString(info.param.dtype);
}

INSTANTIATE_TEST_SUITE_P(Registry, Laws, testing::ValuesIn(cases({at::kDouble, at::kFloat, at::kBFloat16})), name_of);
INSTANTIATE_TEST_SUITE_P(Registry, GradientLaws, testing::ValuesIn(cases({at::kDouble, at::kFloat})), name_of);
INSTANTIATE_TEST_SUITE_P(Registry, DifferenceLaws, testing::ValuesIn(cases({at::kDouble})), name_of);

}  // namespace lowrank::test
