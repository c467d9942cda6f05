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
  const std::regex row(R"(\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|)");
  int rows = 0;
  std::smatch cell;
  for (std::string line; std::getline(page, line);) {
    if (!std::regex_match(line, cell, row)) continue;
    const Configured options(*GetParam(), std::stoll(cell[3]), 1);
    int64_t count = 0;
    for (const auto& spec : GetParam()->tensors(*options, {"linear", std::stoll(cell[1]), std::stoll(cell[2]), false})) {
      int64_t elements = 1;
      for (const int64_t size : spec.shape) elements *= size;
      count += elements;
    }
    EXPECT_EQ(count, std::stoll(cell[4])) << line;
    ++rows;
  }
  EXPECT_GE(rows, 2) << path << " needs a table of O, I, R and parameters";
}

INSTANTIATE_TEST_SUITE_P(Registry, Docs, testing::ValuesIn(adapters::methods().begin(), adapters::methods().end()),
                         [](const auto& info) { return std::string(info.param->name()); });

}  // namespace lowrank::test
