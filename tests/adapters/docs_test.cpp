// The parameter counts on a method's page are those of its tensors.
#include <fstream>
#include <regex>

#include "law_case.h"

namespace lowrank::test {

class Docs : public testing::TestWithParam<const adapters::Method*> {};

TEST_P(Docs, ParameterCountsAreTrue) {
  const std::string path = std::string(LOWRANK_SOURCE_DIR) + "/docs/methods/" + std::string(GetParam()->name()) + ".md";
  std::ifstream page(path);
  ASSERT_TRUE(page) << "no " << path;
  // | O | I | R | parameters | of a linear layer, | O | C | kh×kw | R | parameters | of a convolution
  const std::regex row(R"(\| (\d+) \| (\d+) \| (?:(\d+)×(\d+) \| )?(\d+) \| (\d+) \|)");
  int rows = 0, convolutions = 0;
  std::smatch cell;
  for (std::string line; std::getline(page, line);) {
    if (!std::regex_match(line, cell, row)) continue;
    const Configured options(*GetParam(), std::stoll(cell[5]), 1);
    nn::HostShape shape{.kind = "linear", .out = std::stoll(cell[1]), .in = std::stoll(cell[2])};
    if (cell[3].matched) {
      shape.kind = "conv2d";
      shape.kernel = {std::stoll(cell[3]), std::stoll(cell[4])};
      shape.in *= shape.taps();
      ++convolutions;
    }
    int64_t count = 0;
    for (const auto& spec : GetParam()->tensors(*options, shape)) {
      int64_t elements = 1;
      for (const int64_t size : spec.shape) elements *= size;
      count += elements;
    }
    EXPECT_EQ(count, std::stoll(cell[6])) << line;
    ++rows;
  }
  EXPECT_EQ(convolutions > 0, GetParam()->supports({.kind = "conv2d", .out = 8, .in = 8})) << path;
  EXPECT_GE(rows, 2) << path << " needs a table of O, I, R and parameters";
}

INSTANTIATE_TEST_SUITE_P(Registry, Docs, testing::ValuesIn(adapters::methods().begin(), adapters::methods().end()),
                         [](const auto& info) { return std::string(info.param->name()); });

}  // namespace lowrank::test
