#include "lowrank/adapters/dora.h"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include "law_case.h"
#include "support/expect_close.h"
#include "support/tolerance.h"

#include "lowrank/nn/conv2d.h"

namespace lowrank::test {

namespace {

const adapters::Method& dora() { return adapters::method_named("dora"); }

std::shared_ptr<adapters::DoraAdapter> make_dora(const Configured& options, const nn::Host& host) {
  return std::dynamic_pointer_cast<adapters::DoraAdapter>(make_perturbed(dora(), *options, host));
}

/// ‖W + s·B·A‖ by rows, the long way, in float64.
at::Tensor dense_norms(const nn::Host& host, const at::Tensor& A, const at::Tensor& B, double scale) {
  return (host.matrix().to(at::kDouble) + scale * B.detach().to(at::kDouble).mm(A.detach().to(at::kDouble))).norm(2, 1);
}

struct Factors {
  at::Tensor A, B;
};

Factors factors_of(adapters::DoraAdapter& adapter) {
  const auto parameters = adapter.named_parameters();
  return {parameters["lora_A"], parameters["lora_B"]};
}

}  // namespace

TEST(DoraNorm, EqualsTheDenseNorm) {
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const auto host = make_host("linear", dtype);
    const auto type = dtype == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor A = fixed({4, kIn}, 5, 1, type), B = fixed({kOut, 4}, 6, 1, type);
    adapters::RowNorms norms;
    // The adapter's part is exact to its own dtype, whatever the base's.
    EXPECT_TRUE(close(norms.of(*host, A, B, 1.7, false), dense_norms(*host, A, B, 1.7), tolerance(type)));
  }
}

TEST(DoraNorm, SurvivesCancellation) {
  const auto host = make_host("linear", at::kFloat);
  const at::Tensor A = fixed({kIn, kIn}, 5, 1, at::kFloat);
  // B·A is −W up to one part in ten thousand: nearly every digit of the sum of squares is lost.
  const at::Tensor B = (-0.9999 * host->weight().to(at::kDouble).mm(A.to(at::kDouble).inverse())).to(at::kFloat);
  adapters::RowNorms norms;
  EXPECT_TRUE(close(norms.of(*host, A, B, 1.0, false) / dense_norms(*host, A, B, 1.0), fixed({kOut}, 1, 0) + 1, tolerance(at::kFloat)));
}

TEST(DoraNorm, LargeRowsDoNotOverflow) {
  auto host = nn::Linear(4096, 2, false);
  host.set_weight(at::full({2, 4096}, 8.0, at::kHalf));
  adapters::RowNorms norms;
  const at::Tensor n = norms.of(host, at::zeros({1, 4096}), at::zeros({2, 1}), 1.0, false);
  EXPECT_TRUE(close(n, at::full({2}, 512.0), tolerance(at::kFloat)));
}

TEST(DoraNorm, IsComputedOnceForEachStateOfTheParameters) {
  const auto host = make_host("linear", at::kFloat);
  const Configured options(dora());
  const auto adapter = make_dora(options, *host);
  const auto [A, B] = factors_of(*adapter);
  host->attach("a", adapter);
  const at::Tensor x = make_input("linear", at::kFloat);
  for (int micro_batch = 0; micro_batch < 3; ++micro_batch) host->forward(x).sum().backward();
  EXPECT_EQ(adapter->norms().computations(), 1);

  const at::Tensor before = adapter->low_rank(*host)->gain;
  torch::optim::SGD optimizer(adapter->parameters(), 0.1);
  optimizer.step();
  EXPECT_FALSE(at::allclose(adapter->low_rank(*host)->gain, before));
  EXPECT_EQ(adapter->norms().computations(), 2);
  const at::Tensor m = adapter->named_parameters()["lora_magnitude_vector"];
  EXPECT_TRUE(close(m / adapter->low_rank(*host)->gain, dense_norms(*host, A, B, 1.5), tolerance(at::kFloat)));
}

// On a matrix unit the convolution finds W·Aᵀ on its way; elsewhere it is asked for it.
TEST(DoraNorm, OfAConvolutionIsFoundWhileItRuns) {
  nn::Conv2d host({.in = 64, .out = 32, .kernel = {3, 3}, .padding = {1, 1}});
  host.set_weight(fixed({32, 64, 3, 3}, 3, 0.1, at::kBFloat16));
  host.set_bias(fixed({32}, 4, 1, at::kBFloat16));
  host.set_weight(host.weight().contiguous(host.layout(host.weight().scalar_type())));
  const Configured options(dora());
  const auto adapter = make_dora(options, host);
  const auto [A, B] = factors_of(*adapter);
  host.attach("a", adapter);
  const at::Tensor x = fixed({1, 64, 6, 5}, 7, 1, at::kBFloat16), m = adapter->named_parameters()["lora_magnitude_vector"];
  const auto norms = [&, &a = A, &b = B] {
    return m.detach().to(at::kDouble) / adapter->low_rank(host)->gain.detach().to(at::kDouble) /
           dense_norms(host, a.flatten(1), b.flatten(1), 1.5);
  };
  const at::Tensor one = at::ones({32}, at::kDouble);
  host.forward(x).sum().backward();
  const at::Tensor known = host.forward(x);
  EXPECT_EQ(adapter->norms().computations(), 1);
  EXPECT_TRUE(close(norms(), one, tolerance(at::kFloat)));
  const at::NoGradGuard no_grad;
  at::Tensor(A).mul_(-0.5);
  EXPECT_FALSE(at::equal(host.forward(x), known));
  EXPECT_EQ(adapter->norms().computations(), 2);
  EXPECT_TRUE(close(norms(), one, tolerance(at::kFloat)));
  at::Tensor(A).mul_(-2);
  EXPECT_TRUE(at::equal(host.forward(x), known));
  EXPECT_EQ(adapter->norms().computations(), 3);
}

TEST(DoraNorm, SeesUpdatesOfTheFlatBufferBehindItsParameters) {
  const auto host = make_host("linear", at::kFloat);
  at::Tensor flat = fixed({4 * (kIn + kOut)}, 9, 1, at::kFloat);
  const at::Tensor A = flat.narrow(0, 0, 4 * kIn).view({4, kIn}), B = flat.narrow(0, 4 * kIn, 4 * kOut).view({kOut, 4});
  adapters::RowNorms norms;
  norms.of(*host, A, B, 1.0, false);
  norms.of(*host, A, B, 1.0, false);
  EXPECT_EQ(norms.computations(), 1);
  flat.mul_(0.5);
  EXPECT_TRUE(close(norms.of(*host, A, B, 1.0, false), dense_norms(*host, A, B, 1.0), tolerance(at::kFloat)));
  flat.data_ptr<float>()[7] += 1;  // as a fused optimiser kernel does, behind the version counter
  EXPECT_TRUE(close(norms.of(*host, A, B, 1.0, false), dense_norms(*host, A, B, 1.0), tolerance(at::kFloat)));
  EXPECT_EQ(norms.computations(), 3);
}

TEST(DoraNorm, SeesAnotherWeightBehindTheHost) {
  const auto host = make_host("linear", at::kFloat);
  const at::Tensor A = fixed({4, kIn}, 5, 1, at::kFloat), B = fixed({kOut, 4}, 6, 1, at::kFloat);
  adapters::RowNorms norms;
  norms.of(*host, A, B, 1.0, false);
  host->set_weight(fixed({kOut, kIn}, 8, 0.5, at::kFloat));
  EXPECT_TRUE(close(norms.of(*host, A, B, 1.0, false), dense_norms(*host, A, B, 1.0), tolerance(at::kFloat)));
}

TEST(DoraNorm, FromInferenceModeServesTraining) {
  const auto host = make_host("linear", at::kFloat);
  Configured options(dora());
  options.set("norm-gradient", "full");
  const auto adapter = make_dora(options, *host);
  host->attach("a", adapter);
  {
    const c10::InferenceMode inference;
    host->forward(make_input("linear", at::kFloat));
  }
  EXPECT_NO_THROW(host->forward(make_input("linear", at::kFloat)).sum().backward());
}

TEST(Dora, RowsOfZerosGiveZerosAndNoNaN) {
  for (const char* gradient : {"detached", "full"}) {
    const auto host = make_host("linear_no_bias", at::kFloat);
    host->weight()[3].zero_();
    Configured options(dora());
    options.set("norm-gradient", gradient);
    const auto adapter = dora().create(*options, *host);
    host->attach("a", adapter);
    const at::Tensor y = host->forward(make_input("linear", at::kFloat));
    EXPECT_EQ(y.select(1, 3).abs().max().item<float>(), 0);
    y.square().sum().backward();
    for (const auto& parameter : adapter->parameters()) EXPECT_TRUE(at::isfinite(parameter.grad()).all().item<bool>());
    EXPECT_TRUE(at::isfinite(adapter->apply_to_weight(host->matrix())).all().item<bool>());
  }
}

TEST(Dora, TheFullGradientDiffersFromTheDetachedOne) {
  const auto host = make_host("linear", at::kDouble), other = make_host("linear", at::kDouble);
  Configured detached(dora()), full(dora());
  full.set("norm-gradient", "full");
  const auto one = make_dora(detached, *host), two = make_dora(full, *other);
  host->attach("a", one);
  other->attach("a", two);
  const at::Tensor x = make_input("linear", at::kDouble);
  host->forward(x).square().sum().backward();
  other->forward(x).square().sum().backward();
  EXPECT_FALSE(at::allclose(factors_of(*one).B.grad(), factors_of(*two).B.grad()));
  EXPECT_TRUE(close(one->named_parameters()["lora_magnitude_vector"].grad(), two->named_parameters()["lora_magnitude_vector"].grad(),
                    tolerance(at::kDouble)));
}

}  // namespace lowrank::test
