#include "lowrank/nn/host.h"

#include <ATen/ops/randn.h>

#include "support/expect_error.h"

#include "lowrank/nn/linear.h"

namespace lowrank::nn {
namespace {

/// W' = factor·W when scaling, else W + 1: the two kinds that a host must tell apart.
class Toy : public Adapter {
 public:
  explicit Toy(bool additive) : additive_(additive) {}
  at::Tensor apply_to_weight(const at::Tensor& w) const override { return additive_ ? w + multiplier() : w * (1 + multiplier()); }
  bool is_additive() const override { return additive_; }

 private:
  bool additive_;
};

std::shared_ptr<Linear> layer() {
  at::manual_seed(1);
  auto linear = std::make_shared<Linear>(3, 2);
  linear->set_weight(at::randn({2, 3}));
  linear->set_bias(at::randn({2}));
  return linear;
}

TEST(Host, AttachingChangesNoNamesAndDetachingRestores) {
  auto linear = layer();
  const at::Tensor x = at::randn({4, 3}), before = linear->forward(x);
  linear->attach("a", std::make_shared<Toy>(true));
  EXPECT_EQ(linear->named_parameters().keys(), (std::vector<std::string>{"weight", "bias"}));
  EXPECT_FALSE(linear->forward(x).equal(before));
  linear->detach("a");
  EXPECT_TRUE(linear->forward(x).equal(before));
}

TEST(Host, MergeGivesTheSameOutputAndUnmergeTheVeryBytes) {
  auto linear = layer();
  const at::Tensor x = at::randn({4, 3}), weight = linear->weight().clone();
  linear->attach("a", std::make_shared<Toy>(false));
  const at::Tensor live = linear->forward(x);
  linear->merge();
  EXPECT_LT((linear->forward(x) - live).abs().max().item<float>(), 1e-6);
  EXPECT_LOWRANK_ERROR(linear->detach("a"), ErrorKind::invalid_argument, "the layer is merged");
  linear->unmerge();
  EXPECT_TRUE(linear->weight().equal(weight));
}

TEST(Host, OnlyAdditiveAdaptersShareALayer) {
  auto linear = layer();
  linear->attach("a", std::make_shared<Toy>(true));
  linear->attach("b", std::make_shared<Toy>(true));
  EXPECT_LOWRANK_ERROR(linear->attach("a", std::make_shared<Toy>(true)), ErrorKind::invalid_argument, "named 'a' is attached already");
  EXPECT_LOWRANK_ERROR(linear->attach("c", std::make_shared<Toy>(false)), ErrorKind::invalid_argument, "not additive");
}

TEST(Host, HostsAreFoundByTheirDottedNames) {
  struct Block : torch::nn::Module {
    Block() { register_module("query", layer()); }
  };
  struct Model : torch::nn::Module {
    Model() { register_module("block", std::make_shared<Block>()); }
  } model;
  const auto hosts = hosts_of(model);
  ASSERT_EQ(hosts.size(), 1U);
  EXPECT_EQ(hosts[0].first, "block.query");
}

}  // namespace
}  // namespace lowrank::nn
