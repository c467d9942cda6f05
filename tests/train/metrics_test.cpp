#include "lowrank/train/metrics.h"

#include <fstream>
#include <gtest/gtest.h>

#include "support/temp_dir.h"

#include "lowrank/base/file.h"

namespace lowrank::train {
namespace {

TEST(EventFileTest, BytesEqualTensorBoardsOwnWriter) {
  const test::TempDir folder;
  {
    EventFile events(folder / "events", 1700000000.25);
    events.scalars(1, 1700000001.5, {{"train/loss", 0.5}});
    events.scalars(300, 1700000002.0, {{"train/loss", 1e-3}, {"validation/accuracy", 0.875}});
  }
  EXPECT_EQ(read_file(folder / "events"),
            read_file(std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/train/events.out.tfevents.golden"));
}

Json step_line(int64_t step) { return {{"event", "step"}, {"step", step}, {"loss", 1.0 / static_cast<double>(step)}, {"time", 1.7e9}}; }

std::vector<int64_t> steps_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<int64_t> steps;
  for (std::string line; std::getline(file, line);) steps.push_back(parse_json(line, "line").at("step"));
  return steps;
}

TEST(MetricsWriterTest, ALaterSessionDropsWhatWillBeDoneAgain) {
  const test::TempDir folder;
  {
    MetricsWriter writer(folder.path(), 0);
    for (int64_t step = 1; step <= 5; ++step) writer.write(step_line(step));
  }
  std::ofstream(folder / "metrics.jsonl", std::ios::app) << R"({"event":"st)";  // killed while it wrote
  {
    MetricsWriter writer(folder.path(), 3);
    writer.write(step_line(4));
  }
  EXPECT_EQ(steps_in(folder / "metrics.jsonl"), (std::vector<int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "tensorboard"), {}), 1);
}

}  // namespace
}  // namespace lowrank::train
