#include "lowrank/adapters/lokr.h"

#include <torch/csrc/autograd/autograd.h>

#include "law_case.h"
#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/tolerance.h"

namespace lowrank::test {

namespace {

const adapters::Method& lokr() { return adapters::method_named("lokr"); }

constexpr nn::HostShape kShape{.kind = "linear", .out = kOut, .in = kIn};

std::vector<std::string> names_of(const Configured& options, const nn::HostShape& shape = kShape) {
  std::vector<std::string> names;
  for (const auto& spec : lokr().tensors(*options, shape)) names.push_back(spec.name);
  return names;
}

}  // namespace

struct Factorisation {
  int64_t dimension, factor, outer, inner;
};

class Factorize : public testing::TestWithParam<Factorisation> {};

TEST_P(Factorize, IsPeftsRule) {
  const auto& c = GetParam();
  const adapters::Factors factors = adapters::factorize(c.dimension, c.factor);
  EXPECT_EQ(factors.outer, c.outer);
  EXPECT_EQ(factors.inner, c.inner);
}

INSTANTIATE_TEST_SUITE_P(Table, Factorize,
                         testing::Values(Factorisation{127, -1, 1, 127}, Factorisation{128, -1, 8, 16}, Factorisation{128, 4, 4, 32},
                                         Factorisation{250, -1, 10, 25}, Factorisation{360, -1, 18, 20}, Factorisation{360, 16, 15, 24},
                                         Factorisation{768, -1, 24, 32}, Factorisation{1024, -1, 32, 32}, Factorisation{4096, -1, 64, 64},
                                         Factorisation{11008, -1, 86, 128}, Factorisation{24, 12, 12, 2}, Factorisation{40, 12, 5, 8},
                                         Factorisation{7, 8, 1, 7}, Factorisation{1, 8, 1, 1}));

TEST(Lokr, TensorsFollowRankAndOptions) {
  EXPECT_EQ(names_of(Configured(lokr(), 2)), (std::vector<std::string>{"lokr_w1", "lokr_w2_a", "lokr_w2_b"}));
  EXPECT_EQ(names_of(Configured(lokr(), 16)), (std::vector<std::string>{"lokr_w1", "lokr_w2"}));
  Configured both(lokr(), 2);
  both.set("decompose-both", true);
  EXPECT_EQ(names_of(both), (std::vector<std::string>{"lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b"}));
  both.set("full-matrix", true);
  EXPECT_EQ(names_of(both), (std::vector<std::string>{"lokr_w1", "lokr_w2"}));
}

TEST(Lokr, OfAConvolutionFactorsAreOfChannels) {
  const nn::HostShape shape = make_host("conv2d", at::kFloat)->shape(), pointwise = make_host("conv2d_pointwise", at::kFloat)->shape();
  const auto layout = adapters::lokr_layout(*Configured(lokr(), 2), shape);
  EXPECT_EQ(std::tuple(layout.l, layout.k, layout.m, layout.n), std::tuple(8, 5, 8, 3));
  const auto shape_of = [](const Configured& options, const nn::HostShape& host, const char* name) {
    for (const auto& spec : lokr().tensors(*options, host)) {
      if (spec.name == name) return spec.shape;
    }
    return std::vector<int64_t>{};
  };
  using Shape = std::vector<int64_t>;
  EXPECT_EQ(shape_of(Configured(lokr(), 2), shape, "lokr_w2_b"), (Shape{2, 27}));
  EXPECT_EQ(shape_of(Configured(lokr(), 9), shape, "lokr_w2"), (Shape{5, 3, 3, 3}));
  Configured tucker(lokr(), 2);
  tucker.set("tucker", true);
  EXPECT_EQ(shape_of(tucker, shape, "lokr_t2"), (Shape{2, 2, 3, 3}));
  EXPECT_EQ(shape_of(tucker, shape, "lokr_w2_a"), (Shape{2, 5}));
  EXPECT_EQ(shape_of(tucker, shape, "lokr_w2_b"), (Shape{2, 3}));
  EXPECT_EQ(names_of(tucker, pointwise), names_of(Configured(lokr(), 2), pointwise));
}

TEST(Lokr, ExplicitFactorsMustDivide) {
  Configured options(lokr());
  options.set("factors", Json::array({10, 3}));
  const auto layout = adapters::lokr_layout(*options, kShape);
  EXPECT_EQ(std::tuple(layout.l, layout.k, layout.m, layout.n), std::tuple(10, 4, 3, 8));
  options.set("factors", Json::array({7, 3}));
  EXPECT_LOWRANK_ERROR(adapters::lokr_layout(*options, kShape), ErrorKind::invalid_argument, "expected a divisor of 40 for layer, got 7");
  options.set("factors", Json::array({7}));
  EXPECT_LOWRANK_ERROR(adapters::lokr_layout(*options, kShape), ErrorKind::invalid_argument, "got 1 numbers");
}

using Variant = std::tuple<const char*, const char*>;  // host, options

class LokrVariants : public testing::TestWithParam<Variant> {};

TEST_P(LokrVariants, ForwardIsTheKroneckerProduct) {
  const auto [kind, variant] = GetParam();
  for (const int64_t rank : {2, 30}) {
    Configured options(lokr(), rank, 5);
    options.table().apply(Json::parse(variant), "test");
    const auto host = make_host(kind, at::kDouble);
    const auto fresh = lokr().create(*options, *host);
    EXPECT_TRUE(at::equal(fresh->apply_to_weight(host->matrix()), host->matrix()));
    const auto adapter = make_perturbed(lokr(), *options, *host);
    host->attach("a", adapter);
    const at::Tensor x = make_input(kind, at::kDouble).requires_grad_();
    const at::Tensor expected = host->multiply(x, adapter->apply_to_weight(host->matrix()), host->bias());
    EXPECT_TRUE(close(host->forward(x), expected, tolerance(at::kDouble))) << "rank " << rank;
    auto wanted = adapter->parameters();
    wanted.push_back(x);
    const auto fast = torch::autograd::grad({host->forward(x).square().sum()}, wanted);
    const auto dense = torch::autograd::grad({expected.square().sum()}, wanted);
    for (size_t i = 0; i < fast.size(); ++i) EXPECT_TRUE(close(fast[i], dense[i], 1e-9)) << i;  // sums of 1e4, observed 1e-11
  }
}

INSTANTIATE_TEST_SUITE_P(Options, LokrVariants,
                         testing::Combine(testing::Values("linear", "conv2d", "conv2d_strided"),
                                          testing::Values("{}", R"({"factor": -1})", R"({"factor": 4, "decompose_both": true})",
                                                          R"({"full_matrix": true})", R"({"factors": [20, 2], "full_matrix": true})",
                                                          R"({"factors": [2, 12], "full_matrix": true})", R"({"factors": [1, 24]})",
                                                          R"({"factors": [40, 1], "init": "lycoris"})", R"({"tucker": true})",
                                                          R"({"tucker": true, "decompose_both": true, "init": "lycoris"})",
                                                          R"({"init": "lycoris", "full_matrix": true})")));

TEST(Lokr, ScaleRules) {
  Configured options(lokr(), 4, 6);
  EXPECT_EQ(lokr().effective_scale(*options, kShape), 1.5);
  options.set("full-matrix", true);
  EXPECT_EQ(lokr().effective_scale(*options, kShape), 1.5);
  options.set("scale-rule", "lycoris");
  EXPECT_EQ(lokr().effective_scale(*options, kShape), 1.0);
}

TEST(Lokr, PeftIsToldRankAndAlphaThatGiveTheSameTensorsAndScale) {
  for (const bool decompose_both : {false, true}) {
    Configured ours(lokr(), 2, 3);
    ours.set("full-matrix", true);
    ours.set("scale-rule", "lycoris");
    ours.set("decompose-both", decompose_both);
    const adapters::PeftModule theirs = lokr().peft_module(*ours, kShape);
    Configured read_back(lokr(), theirs.rank, theirs.alpha);
    read_back.set("decompose-both", decompose_both);
    EXPECT_EQ(names_of(read_back), names_of(ours));
    EXPECT_DOUBLE_EQ(lokr().effective_scale(*read_back, kShape), 1.0);
  }
  Configured uneven(lokr());
  uneven.set("factors", Json::array({10, 3}));
  EXPECT_LOWRANK_ERROR(lokr().peft_module(*uneven, kShape), ErrorKind::unsupported, "one decompose_factor");
}

class LokrDropout : public testing::TestWithParam<const char*> {};

TEST_P(LokrDropout, OfTheRankDropsChannelsAndOfTheModuleRows) {
  const auto run = [](std::string_view option, double p, bool rescale) {
    Configured options(lokr());
    options.set(option, p);
    options.set("rank-dropout-scale", rescale);
    const auto host = make_host(GetParam(), at::kDouble);
    const at::Tensor x = make_input(GetParam(), at::kDouble, 50), base = host->forward(x);
    host->attach("a", make_perturbed(lokr(), *options, *host));
    nn::RowKeys keys;
    for (uint64_t i = 0; i < 50; ++i) keys.push_back(i);
    return (host->forward(x, &keys) - base) / (host->forward(x) - base);  // the mask
  };
  const auto holds_only = [](const at::Tensor& mask, double kept) {
    return ((mask.abs() < 1e-9) | ((mask - kept).abs() < 1e-6)).all().item<bool>();
  };
  EXPECT_TRUE(holds_only(run("rank-dropout", 0.5, true), 2.0));
  EXPECT_TRUE(holds_only(run("rank-dropout", 0.5, false), 1.0));
  at::Tensor channels = run("rank-dropout", 0.5, true);  // [rows, channels, pixels]
  channels = channels.view({channels.size(0), channels.size(1), -1});
  EXPECT_LT((channels - channels.narrow(-1, 0, 1)).abs().max().item<double>(), 1e-6) << "one draw for a picture's channel";
  EXPECT_GT(channels.std(1).max().item<double>(), 0.1);
  const at::Tensor rows = run("module-dropout", 0.5, true).flatten(1);
  EXPECT_TRUE(holds_only(rows, 2.0));
  EXPECT_LT((rows - rows.narrow(1, 0, 1)).abs().max().item<double>(), 1e-6);
  EXPECT_GT(rows.std(0).max().item<double>(), 0.1);
}

INSTANTIATE_TEST_SUITE_P(Hosts, LokrDropout, testing::Values("linear_no_bias", "conv2d_strided"),
                         [](const auto& info) { return info.param; });

}  // namespace lowrank::test
