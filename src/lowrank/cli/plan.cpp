// lowrank plan: what a training run would need, without training.
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/diffusion_run.h"
#include "lowrank/cli/run_options.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/tensor/memory.h"
#include "lowrank/train/train.h"

namespace lowrank::cli {

namespace {

int run(Command& command, RunOptions& options) {
  if (is_image_pipeline(command.given("model"))) return plan_diffusion(command);
  train::TrainRequest request = make_request(command, options);
  ProgressLine line;
  const data::Split split = prepare_data(options.model, options.data, line.sink());
  line.clear();
  request.split = &split;
  return print_plan(command, train::plan(request), split.report.to_json(), split.report.to_text());
}

}  // namespace

int print_plan(const Command& command, const train::MemoryPlan& plan, const Json& report, const std::string& report_text) {
  const int64_t available = tensor::available_bytes(plan.device), needed = plan.peak() - tensor::used_bytes(plan.device);
  const bool fits = needed <= available;
  if (command.json()) {
    Json json = plan.to_json();
    json["available_bytes"] = available;
    json["fits"] = fits;
    json["data"] = report;
    std::cout << format_json(json);
    return fits ? 0 : exit_status(ErrorKind::out_of_memory);
  }
  std::cout << report_text;
  const auto row = [](std::string_view name, const std::string& value) { std::cout << fmt::format("  {:<34}{:>10}\n", name, value); };
  std::cout << "Memory\n";
  row("program and weights", bytes_text(plan.process));
  row("gradients and optimiser", bytes_text(plan.optimiser));
  for (const auto& phase : plan.phases) {
    const bool is_batch = phase.remedy.empty();
    const std::string name = is_batch ? fmt::format("{}, {} {} a batch", phase.name, count_text(plan.batch_units), plan.unit) : phase.name;
    row(name, bytes_text(phase.activations));
    if (phase.released > 0) row("  after letting go of", bytes_text(phase.released));
  }
  row("peak", bytes_text(plan.peak()));
  row("available", bytes_text(available));
  const std::string remedy = plan.phases.empty() || plan.phases.front().remedy.empty()
                                 ? "lower --batch-size and raise --gradient-accumulation, which changes no result"
                                 : plan.phases.front().remedy;
  std::cout << (fits ? "It fits.\n" : fmt::format("It does not fit: {}.\n", remedy));
  return fits ? 0 : exit_status(ErrorKind::out_of_memory);
}

void add_plan(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  auto command = std::make_shared<Command>(app, "plan", "what a training run would need, without training",
                                           "lowrank plan --model MODEL --data reviews.csv --method lora --batch-size 64");
  describe_run(*command, *options);
  describe_diffusion(*command);
  command->on_run([command, options] { return run(*command, *options); });
}

}  // namespace lowrank::cli
