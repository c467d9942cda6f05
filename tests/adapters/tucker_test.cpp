// The Tucker form of every method that has one; what it means is in the goldens of LyCORIS.
#include <torch/csrc/autograd/autograd.h>

#include "law_case.h"
#include "support/expect_close.h"
#include "support/tolerance.h"

namespace lowrank::test {

struct TuckerCase {
  const char *method, *host;
};

void PrintTo(const TuckerCase& one, std::ostream* out) { *out << one.method << " on " << one.host; }

class Tucker : public testing::TestWithParam<TuckerCase> {};

TEST_P(Tucker, ForwardAndGradientsAreThoseOfTheAdaptedWeight) {
  const adapters::Method& method = adapters::method_named(GetParam().method);
  Configured options(method);
  ASSERT_EQ(options.set("tucker", true), 1);
  options.set("gradient", "full");
  for (const bool with_fused : {true, false}) {
    const auto host = make_host(GetParam().host, at::kDouble, with_fused);
    EXPECT_EQ(method.tensors(*options, host->shape()).size(), method.tensors(*Configured(method), host->shape()).size() + 1);
    EXPECT_TRUE(close(method.create(*options, *host)->apply_to_weight(host->matrix()), host->matrix(), tolerance(at::kDouble)));
    const auto adapter = make_perturbed(method, *options, *host);
    host->attach("a", adapter);
    const at::Tensor x = make_input(GetParam().host, at::kDouble).requires_grad_();
    const at::Tensor y = host->forward(x), expected = host->multiply(x, adapter->apply_to_weight(host->matrix()), host->bias());
    EXPECT_TRUE(close(y, expected, tolerance(at::kDouble)));
    auto wanted = adapter->parameters();
    wanted.push_back(x);
    const auto fast = torch::autograd::grad({(y * fixed(y.sizes(), 5)).sum()}, wanted),
               dense = torch::autograd::grad({(expected * fixed(y.sizes(), 5)).sum()}, wanted);
    for (size_t i = 0; i < fast.size(); ++i) EXPECT_TRUE(close(fast[i], dense[i], tolerance(at::kDouble))) << "gradient " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Tucker,
                         testing::Values(TuckerCase{"lora", "conv2d"}, TuckerCase{"lora", "conv2d_strided"},
                                         TuckerCase{"lora", "conv2d_grouped"}, TuckerCase{"dora", "conv2d"},
                                         TuckerCase{"lokr", "conv2d_strided"}),
                         [](const auto& info) { return std::string(info.param.method) + "_" + info.param.host; });

}  // namespace lowrank::test
