// A study that never ran: random numbers shaped like a comparison, to test statistics and report. Not a result of anything.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "lowrank/base/random.h"
#include "lowrank/study/study_record.h"

namespace lowrank::test {

using namespace lowrank::study;

struct SimulatedMethod {
  std::string name;
  double skill, seed_noise;  // of the latent normal whose sign is "correct"
  double seconds, adapter_bytes, parameters;
};

inline const std::vector<SimulatedMethod>& simulated_methods() {
  static const std::vector<SimulatedMethod> methods{{"none", 0.62, 0.004, 8.5, 38e3, 9.2e3},
                                                    {"lora", 1.02, 0.030, 31.2, 2.9e6, 7.3e5},
                                                    {"dora", 1.05, 0.028, 34.0, 2.95e6, 7.4e5},
                                                    {"lokr", 1.01, 0.025, 32.1, 0.31e6, 7.6e4},
                                                    {"full", 1.00, 0.045, 58.7, 90.9e6, 2.27e7}};
  return methods;
}

inline std::vector<CurvePoint> simulated_curve(double final_score, double seconds, RandomStream& stream) {
  std::vector<CurvePoint> curve;
  for (int i = 1; i <= 12; ++i) {
    const double share = i / 12.0, reached = final_score * (1 - 0.75 * std::exp(-4.0 * share)) + 0.006 * stream.normal();
    curve.push_back({.step = i * 40,
                     .epoch = share * 4,
                     .seconds = share * seconds,
                     .train_loss = 3.0 * std::exp(-3 * share) + 0.3,
                     .validation_loss = 3.0 * std::exp(-2.5 * share) + 0.6,
                     .validation_score = reached});
  }
  return curve;
}

inline Run simulated_run(const SimulatedMethod& method, double rate, int64_t seed, RunPhase phase, const Study& study) {
  RandomStream items(7, "items"), own(7, "own:" + method.name), noise(static_cast<uint64_t>(seed), "noise:" + method.name);
  Run run{.method = method.name, .learning_rate = rate, .seed = seed, .phase = phase};
  const double skill = method.skill + method.seed_noise * noise.normal() - 0.1 * std::abs(std::log(rate / 5e-4));
  const auto labels = static_cast<uint64_t>(study.label_names.size());
  for (const int32_t label : study.test_labels) {
    const double latent = skill + 0.85 * items.normal() + 0.25 * own.normal() + 0.25 * noise.normal();
    const auto other = static_cast<int32_t>(noise.below(labels));
    run.predicted.push_back(latent > 0 ? label : other);
  }
  score_predictions(run, study.test_labels);
  run.seconds = method.seconds * (1 + 0.03 * noise.normal());
  run.curve = simulated_curve(run.test_score, run.seconds, noise);
  run.best_step = 440;
  run.units = 118000;
  run.peak_bytes = static_cast<int64_t>(4.1e8 + 4 * method.parameters * 4);
  run.trainable_parameters = static_cast<int64_t>(method.parameters);
  run.adapter_bytes = static_cast<int64_t>(method.adapter_bytes);
  run.forgetting = {1 - 0.03 * method.skill * (method.name == "full" ? 6 : 1), 0.02};
  run.options_hash = "0123abcd";
  if (phase == RunPhase::search) {
    run.predicted.clear();
    run.item_scores.clear();
    run.test_score = run.macro_f1 = kUnknown;
  }
  return run;
}

/// Five methods; `seeds` final runs and three search rates each; one failed run.
inline Study simulated_study(int64_t seeds = 3, int64_t items = 1000) {
  Study study{.title = "Simulated comparison (test fixture)",
              .command = "lowrank compare --model all-MiniLM-L6-v2 --data descriptions.jsonl --methods none,lora,dora,lokr,full --seeds 3",
              .model = "all-MiniLM-L6-v2",
              .data_hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"};
  study.titles = {{"lora", "LoRA"}, {"dora", "DoRA"}, {"lokr", "LoKr"}};
  study.label_names = {"admin",
                       "devel",
                       "doc",
                       "editors",
                       "games",
                       "gnome",
                       "graphics",
                       "java",
                       "kde",
                       "libdevel",
                       "libs",
                       "math",
                       "net",
                       "perl",
                       "python",
                       "ruby",
                       "science",
                       "sound",
                       "web <b>&\"labels\"</b>",
                       "x11"};
  for (int64_t i = 0; i < items; ++i) study.test_labels.push_back(static_cast<int32_t>(i % 20));
  study.majority_label = 3;
  study.data_report = {{"file", "descriptions.jsonl"},
                       {"rows", {{"train", 3000}, {"validation", 600}, {"test", items}}},
                       {"labels", 20},
                       {"length in tokens", {{"median", 12}, {"longest", 31}}},
                       {"truncated", 0},
                       {"duplicates removed", 17},
                       {"test items also in training", 0}};
  study.options = {{"rank", 16},        {"alpha", 16}, {"target-modules", {"query", "key", "value", "dense"}},
                   {"batch-size", 32},  {"epochs", 4}, {"learning-rates", {1e-4, 5e-4, 2e-3}},
                   {"seeds", {1, 2, 3}}};
  study.machine = {{"processor", "simulated, 2 cores"}, {"memory", "23 GB"}};
  study.versions = {{"lowrank", "0.1.0"}, {"libtorch", "2.13"}};
  for (const SimulatedMethod& method : simulated_methods()) {
    study.methods.push_back(method.name);
    for (const double rate : {1e-4, 5e-4, 2e-3}) study.runs.push_back(simulated_run(method, rate, 1, RunPhase::search, study));
    for (int64_t seed = 1; seed <= seeds; ++seed) study.runs.push_back(simulated_run(method, 5e-4, seed, RunPhase::final, study));
  }
  Run failed{.method = "full",
             .learning_rate = 1e-2,
             .seed = 1,
             .phase = RunPhase::search,
             .status = RunStatus::failed,
             .error = "[train] expected a finite loss, got nan at step 12 (layer.0.attention.query); lower --learning-rate"};
  study.runs.push_back(failed);
  return study;
}

}  // namespace lowrank::test
