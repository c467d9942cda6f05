// Every registered method against PEFT's and LyCORIS' own layers (tools/golden/adapters.py).
#include <filesystem>
#include <torch/csrc/autograd/autograd.h>

#include "law_case.h"
#include "support/expect_close.h"
#include "support/tolerance.h"

namespace lowrank::test {

namespace {

const std::filesystem::path kFolder = std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/adapters";

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

nn::RowKeys keys_of(const io::Metadata& metadata) {
  nn::RowKeys keys;
  if (!metadata.contains("dropout_keys")) return keys;
  for (const auto& key : Json::parse("[" + metadata.at("dropout_keys") + "]")) keys.push_back(key.get<uint64_t>());
  return keys;
}

// "padding": 1 or [1, 2], absent: `otherwise`.
std::array<int64_t, 2> pair_of(const Json& numbers, const char* name, int64_t otherwise) {
  if (!numbers.contains(name)) return {otherwise, otherwise};
  const Json& value = numbers.at(name);
  return value.is_array() ? value.get<std::array<int64_t, 2>>() : std::array{value.get<int64_t>(), value.get<int64_t>()};
}

std::shared_ptr<nn::Host> convolution_of(const Json& numbers, const tensor::TensorMap& golden) {
  const int64_t groups = numbers.value("groups", 1);
  const at::Tensor& weight = golden.at("weight");
  return std::make_shared<nn::Conv2d>(nn::Conv2dOptions{.in = weight.size(1) * groups,
                                                        .out = weight.size(0),
                                                        .kernel = pair_of(numbers, "kernel", 1),
                                                        .stride = pair_of(numbers, "stride", 1),
                                                        .padding = pair_of(numbers, "padding", 0),
                                                        .dilation = pair_of(numbers, "dilation", 1),
                                                        .groups = groups,
                                                        .with_bias = golden.contains("bias")});
}

std::shared_ptr<nn::Host> host_of(const io::Metadata& metadata, const tensor::TensorMap& golden) {
  const at::Tensor& weight = golden.at("weight");
  const std::string& kind = metadata.at("host");
  std::shared_ptr<nn::Host> host;
  if (kind == "conv2d") {
    host = convolution_of(Json::parse(metadata.at("convolution")), golden);
  } else if (kind == "embedding") {
    host = std::make_shared<nn::Embedding>(weight.size(0), weight.size(1));
  } else {
    host = std::make_shared<nn::Linear>(weight.size(1), weight.size(0), golden.contains("bias"));
  }
  host->set_weight(weight);
  if (golden.contains("bias")) host->set_bias(golden.at("bias"));
  return host;
}

}  // namespace

TEST(Golden, EveryMethodHasAFile) {
  const auto names = golden_names();
  for (const adapters::Method* method : adapters::methods()) {
    const std::string prefix = std::string(method->name()) + "_";
    EXPECT_TRUE(std::any_of(names.begin(), names.end(), [&](const std::string& name) { return name.starts_with(prefix); }))
        << "no golden of " << method->name() << ": add its cases to tools/golden/adapters.py";
  }
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, OutputMergedWeightAndGradientsAreThoseOfTheReference) {
  const auto path = kFolder / (GetParam() + ".safetensors");
  const io::Metadata metadata = io::TensorFile::open(path).metadata();
  const tensor::TensorMap golden = load_golden(path);
  const adapters::Method& method = adapters::method_named(metadata.at("method"));
  Configured options(method, std::stoll(metadata.at("rank")), std::stod(metadata.at("alpha")));
  options.table().apply(Json::parse(metadata.at("options")), path.filename().string());

  const auto host = host_of(metadata, golden);
  const auto adapter = method.create(*options, *host);
  for (auto& entry : adapter->named_parameters()) {
    const at::NoGradGuard no_grad;
    const at::Tensor& stored = golden.at("adapter." + entry.key());
    ASSERT_EQ(entry.value().sizes(), stored.sizes()) << entry.key();
    entry.value().copy_(stored);
  }
  host->attach("a", adapter, metadata.contains("dropout_salt") ? std::stoull(metadata.at("dropout_salt")) : 0);

  const nn::RowKeys keys = keys_of(metadata);
  const at::Tensor x = golden.contains("grad.x") ? golden.at("x").clone().requires_grad_() : golden.at("x");
  const at::Tensor y = host->forward(x, keys.empty() ? nullptr : &keys);
  (y * golden.at("dy")).sum().backward();
  const double bound = tolerance(at::kDouble);
  EXPECT_TRUE(close(y, golden.at("y"), bound)) << "output";
  if (golden.contains("grad.x")) EXPECT_TRUE(close(x.grad(), golden.at("grad.x"), bound)) << "gradient of x";
  for (auto& entry : adapter->named_parameters()) {
    EXPECT_TRUE(close(entry.value().grad(), golden.at("grad." + entry.key()), bound)) << "gradient of " << entry.key();
  }
  host->merge();
  EXPECT_TRUE(close(host->weight(), golden.at("merged"), bound)) << "merged weight";
}

INSTANTIATE_TEST_SUITE_P(Files, Golden, testing::ValuesIn(golden_names()), [](const auto& info) { return info.param; });

}  // namespace lowrank::test
