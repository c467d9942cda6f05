// A study of drawn pictures that never ran: distances by a seeded formula, pictures by hand. Not a result of anything.
#pragma once

#include <filesystem>
#include <string>

#include "lowrank/base/file.h"
#include "lowrank/base/random.h"
#include "lowrank/study/measures.h"

namespace lowrank::test {

using namespace lowrank::study;

/// LoRA goes `near` of the way from base to best by "feature", LoKr a tenth less; by "pixel" all as much as the base.
inline Study drawn_study(int64_t items = 60, double near = 0.5) {
  Study study{.title = "Drawn (test fixture)",
              .command = "lowrank compare --model sd",
              .model = "sd",
              .data_hash = "00",
              .score_name = kCloseness,
              .unit = "pictures"};
  study.methods = {"lora", "lokr"};
  study.titles = {{"lora", "LoRA"}, {"lokr", "LoKr"}};
  const auto measure = [&](const std::string& name, const std::string& title, const std::string& of) {
    Measure one{.name = name, .title = title, .explanation = "made up for " + title, .of = of};
    for (int64_t i = 0; i < items; ++i) {
      RandomStream draw(5, name, 0, static_cast<uint64_t>(i));
      one.base.push_back(0.6 + 0.1 * draw.normal());
      one.best.push_back(0.1);
      one.base_again.push_back(one.base.back() + 0.05 * draw.normal());
    }
    study.measures.push_back(std::move(one));
  };
  measure("feature", "feature distance", "test");
  measure("pixel", "pixel distance", "test");
  measure("forgetting feature", "feature distance", "forgetting");
  study.sheets = {{"test", "Test captions", {"a <b>bat</b>", "a ghost"}}};
  for (const std::string& method : study.methods) {
    for (int64_t seed = 1; seed <= 3; ++seed) {
      Run run{.method = method, .learning_rate = 1e-3, .seed = seed, .seconds = 10, .units = 100};
      run.curve = {{.step = 5, .validation_loss = 0.4}, {.step = 10, .validation_loss = 0.3}};
      for (const Measure& one : study.measures) {
        const double share = one.of == "forgetting" ? -0.2 : one.name == "pixel" ? 0 : method == "lora" ? near : near - 0.1;
        RandomStream draw(static_cast<uint64_t>(seed), method + one.name);
        for (const double base : one.base) run.distances[one.name].push_back(base - share * scale_of(one) + 0.02 * draw.normal());
      }
      score_distances(run, study);
      study.runs.push_back(std::move(run));
    }
  }
  return study;
}

/// What a run leaves for the report: any bytes do.
inline void write_pictures(const std::filesystem::path& folder, const Study& study) {
  for (const std::string column : {"truth", "base", "final-lora-lr0.001-seed1"}) {
    std::filesystem::create_directories(folder / "pictures" / column);
    for (size_t row = 0; row < study.sheets[0].captions.size(); ++row) {
      write_file_atomic(folder / "pictures" / column / ("test-" + std::to_string(row) + ".png"), column + std::to_string(row));
    }
  }
}

}  // namespace lowrank::test
