// lowrank train: adapt a model to labelled texts or pictures, or an image model to captioned pictures (diffusion_run.h).
#include "lowrank/train/train.h"

#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/diffusion_run.h"
#include "lowrank/cli/run_options.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/evaluate/scores.h"

namespace lowrank::cli {

namespace {

constexpr const char* kExamples =
    "lowrank train --model MODEL --data reviews.csv --method dora --rank 16 --out run\n"
    "  lowrank train --model MODEL --data reviews.csv --method dora --rank 16 --out run --resume\n"
    "  lowrank train --model VIT --data flowers/ --method lora --out run     # flowers/rose/*.jpg, flowers/tulip/*.jpg, …\n"
    "  lowrank train --model MODEL --data data/ --method lokr --target-modules query,value --learning-rate 3e-3 --epochs 5 --out run\n"
    "  lowrank train --model SD_FOLDER --data pictures/ --method lora --rank 16 --out my_style";

void print_plan(const train::MemoryPlan& plan) {
  std::cerr << fmt::format("memory: about {} at the peak ({} now, {} for what trains, {} for a batch of {} {})\n", bytes_text(plan.peak()),
                           bytes_text(plan.process), bytes_text(plan.optimiser), bytes_text(plan.activations), count_text(plan.batch_units),
                           plan.unit);
}

/// One line a validation, in the log and on the terminal.
train::MetricSink validation_lines(ProgressLine& line) {
  return [&line](const Json& metric) {
    if (metric.at("event") != "validation") return;
    line.clear();
    std::cerr << fmt::format("step {:>6}  epoch {:.2f}  validation {} {:.4f}  loss {:.4f}{}\n", metric.at("step").get<int64_t>(),
                             metric.at("epoch").get<double>(), metric.at("score_name").get<std::string>(), metric.at("score").get<double>(),
                             metric.at("loss").get<double>(), metric.at("best").get<bool>() ? "  best" : "");
  };
}

Json test_scores(train::TrainResult& result, const data::Dataset& test, const ProgressSink& progress) {
  Json scores = Json::object();
  if (test.size() == 0 || (test.task == data::Task::embedding && result.score_name == "pair_accuracy")) return scores;
  const at::Tensor outputs = evaluate::outputs_of(*result.trainee.model, test, {.progress = progress, .pooling = result.trainee.pooling});
  for (const auto& [name, value] : evaluate::score(test, outputs).all) scores[name] = value;
  return scores;
}

void print_summary(const train::TrainResult& result, const Json& test) {
  std::cout << fmt::format("{} after {} steps: {} parameters trained in {}, {} {}/s, peak memory {}\n", train::to_string(result.outcome),
                           count_text(result.steps), count_text(result.trained_parameters), duration_text(result.seconds),
                           count_text(static_cast<int64_t>(result.units_per_second)), result.unit, bytes_text(result.peak_bytes));
  if (result.best >= 0) {
    const auto& best = result.validations[static_cast<size_t>(result.best)];
    std::cout << fmt::format("best validation {} {:.4f} at step {}\n", result.score_name, best.score, best.step);
  }
  for (const auto& [name, value] : test.items()) std::cout << fmt::format("test {} {:.4f}\n", name, value.get<double>());
  std::cout << fmt::format("saved {}\n", result.saved.string());
}

int run(Command& command, RunOptions& options, bool resume) {
  if (is_image_pipeline(command.given("model"))) return train_diffusion(command, resume);
  train::TrainRequest request = make_request(command, options);
  check(!options.out.empty(), ErrorKind::invalid_argument, "--out", "expected a folder for the result, got none");
  ProgressLine line;
  const data::Split split = prepare_data(options.model, options.data, line.sink());
  line.clear();
  std::cerr << split.report.to_text();
  request.split = &split;
  request.resume = resume;
  request.progress = line.sink();
  request.metrics = validation_lines(line);
  request.stop = &interrupt_token();
  train::TrainResult result = train::train(request);
  line.clear();
  if (result.outcome == train::Outcome::cancelled) {
    std::cerr << fmt::format("stopped after step {}; the same command with --resume goes on from there\n", result.steps);
    return exit_status(ErrorKind::cancelled);
  }
  print_plan(result.plan);
  const Json test = test_scores(result, split.test, line.sink());
  line.clear();
  if (command.json()) {
    Json summary = result.to_json();
    summary["test"] = test;
    std::cout << format_json(summary);
  } else {
    print_summary(result, test);
  }
  return 0;
}

}  // namespace

void add_train(CLI::App& app) {
  struct State {
    RunOptions options;
    bool resume = false;
    OptionTable table;
  };
  auto state = std::make_shared<State>();
  auto command = std::make_shared<Command>(
      app, "train", "adapt a model to labelled texts or pictures, or an image model to captioned pictures", kExamples);
  state->table.add("resume", state->resume, "go on from the checkpoint in --out, if there is one").group("Training");
  command->describe(state->table);
  describe_run(*command, state->options);
  describe_diffusion(*command);
  command->on_run([command, state] {
    command->apply(state->table);
    return run(*command, state->options, state->resume);
  });
}

}  // namespace lowrank::cli
