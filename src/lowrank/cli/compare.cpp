// lowrank compare: which method fits this data?
#include <filesystem>
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/run_options.h"
#include "lowrank/cli/session.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/study/report.h"
#include "lowrank/study/runner.h"
#include "lowrank/tensor/runtime.h"

namespace lowrank::cli {

namespace {

struct CompareState {
  std::string model, out, title = "Which method fits this data?";
  study::CompareOptions compare;
  data::DataOptions data;
  train::TrainOptions train;
  bool robustness = false;
};

void declare_compare(OptionTable& table, CompareState& state) {
  table.add("model", state.model, "model folder (config.json, model.safetensors, and tokenizer.json for texts)").group("Model");
  table.add("out", state.out, "folder of the study; run again to go on with it").group("Model");
  table.add("title", state.title, "shown on top of the report").group("Model");
  study::declare(table, state.compare);
  declare(table, state.train);
}

/// Data options of the model's kind, texts or pictures.
void declare_input(OptionTable& table, CompareState& state, bool pictures) {
  if (!pictures) return declare(table, state.data);
  data::declare_class_folders(table, state.data);
  table.add("robustness", state.robustness, "test under rotation, noise, blur, and changed light and colour too").group("Pictures");
}

/// The options of every method compared, from the same flags: an option goes to each method that knows it.
std::map<std::string, adapters::AdapterConfig> method_configs(Command& command, const CompareState& state) {
  std::map<std::string, adapters::AdapterConfig> configs;
  for (const auto& name : state.compare.methods) {
    if (name == "none" || name == "full") continue;
    adapters::AdapterConfig config = adapters::make_config(name);
    OptionTable own;
    config.declare(own);
    command.apply(own);
    if (command.given("alpha").empty()) config.alpha = static_cast<double>(config.rank);
    configs.emplace(name, std::move(config));
  }
  return configs;
}

Json resolved(CompareState& state, const std::map<std::string, adapters::AdapterConfig>& configs) {
  OptionTable table;
  declare_compare(table, state);
  declare_input(table, state, picture_shape(state.model).has_value());
  Json options = table.resolved();
  for (const char* key : {"model", "out", "title", "threads", "learning-rate", "keep"}) options.erase(key);
  for (const auto& [name, config] : configs) options[name] = config.to_json();
  return options;
}

void say_run(const study::Run& run, int64_t done, int64_t total, ProgressLine& line) {
  line.clear();
  const char* phase = run.phase == study::RunPhase::search ? "search" : "test";
  const std::string head =
      fmt::format("[{}/{}] {:<6} {:<5} learning rate {:<8} seed {}", done, total, phase, run.method, run.learning_rate, run.seed);
  double best = 0;
  for (const auto& point : run.curve) best = std::max(best, point.validation_score);
  if (run.status != study::RunStatus::ok) {
    std::cerr << fmt::format("{}  {}\n", head, to_string(run.status));
  } else if (run.tested()) {
    std::cerr << fmt::format("{}  test {:.4f}  {}\n", head, run.test_score, duration_text(run.seconds));
  } else {
    std::cerr << fmt::format("{}  validation {:.4f}  {}\n", head, best, duration_text(run.seconds));
  }
}

std::filesystem::path recommended_result(const CompareState& state, const study::Study& study, const study::Summary& summary) {
  for (const auto& run : study.runs) {
    if (run.tested() && run.method == summary.recommendation.method && run.seed == state.train.seed)
      return study::kept_result(state.out, run);
  }
  return {};
}

void print_summary(const study::Study& study, const study::Summary& summary) {
  std::cout << fmt::format("{:<22}{:>10}  {:<18}{:>12}{:>10}\n", "method", study.score_name, "95 % interval", "parameters", "time");
  for (const auto& method : summary.methods) {
    if (!method.tested()) continue;
    std::cout << fmt::format("{:<22}{:>10.4f}  {:<18}{:>12}{:>10}\n", title_of(study, method.method), method.score.mean,
                             fmt::format("{:.4f} to {:.4f}", method.score.interval.low, method.score.interval.high),
                             count_text(static_cast<int64_t>(method.trainable_parameters)), duration_text(method.seconds));
  }
  std::cout << "\n" << summary.recommendation.sentence << "\n";
  for (const auto& caution : summary.recommendation.cautions) std::cout << "note: " << caution << "\n";
}

int finish(const CompareState& state, const study::Study& study, bool json) {
  const study::Summary summary = study::summarize(study);
  const study::ReportFiles report = study::write_report(state.out, study);
  const auto result = recommended_result(state, study, summary);
  if (!result.empty()) write_file_atomic(std::filesystem::path(state.out) / "recommended.txt", result.string() + "\n");
  if (json) {
    std::cout << format_json({{"recommended", summary.recommendation.method},
                              {"reason", summary.recommendation.sentence},
                              {"result", result.string()},
                              {"report", report.html.string()},
                              {"report_json", report.json.string()}});
    return 0;
  }
  print_summary(study, summary);
  if (!result.empty()) std::cout << fmt::format("trained result: {}\n", result.string());
  std::cout << fmt::format("report: {}\n", report.html.string());
  return 0;
}

int run(Command& command, CompareState& state) {
  OptionTable table;
  declare_compare(table, state);
  command.apply(table);
  require_model_folder(state.model);
  OptionTable data_table;
  declare_input(data_table, state, picture_shape(state.model).has_value());
  command.apply(data_table);
  state.data.threads = state.train.threads;
  const auto configs = method_configs(command, state);
  command.finish(fmt::format("the methods compared and a model of {}", picture_shape(state.model) ? "pictures" : "texts"));
  check(!state.out.empty(), ErrorKind::invalid_argument, "--out", "expected a folder for the study, got none");
  tensor::initialise_runtime(state.train.threads);
  ProgressLine line;
  const data::Split split = prepare_data(state.model, state.data, line.sink());
  line.clear();
  std::cerr << split.report.to_text();
  study::CompareRequest request{.model = state.model, .out = state.out, .split = &split, .options = state.compare, .train = state.train};
  request.adapter_for = [&configs](const std::string& method) { return adapters::AdapterConfig::from_json(configs.at(method).to_json()); };
  request.resolved = resolved(state, configs);
  request.title = state.title;
  request.robustness = state.robustness;
  request.command = fmt::format("lowrank compare --model {} --data {} --out {}", state.model, state.data.data, state.out);
  request.progress = line.sink();
  request.on_run = [&line](const study::Run& one, int64_t done, int64_t total) { say_run(one, done, total, line); };
  request.stop = &interrupt_token();
  const study::CompareResult result = study::compare(request);
  line.clear();
  if (result.complete) return finish(state, result.study, command.json());
  std::cerr << "stopped; the same command goes on from here\n";
  return exit_status(ErrorKind::cancelled);
}

}  // namespace

void add_compare(CLI::App& app) {
  auto state = std::make_shared<CompareState>();
  auto command =
      std::make_shared<Command>(app, "compare", "which method fits this data?",
                                "lowrank compare --model MODEL --data reviews.csv --out study\n"
                                "  lowrank compare --model MODEL --data data/ --methods lora,lokr --seeds 5 --rank 8 --out study");
  OptionTable table, texts, pictures;
  declare_compare(table, *state);
  declare_input(texts, *state, /*pictures=*/false);
  declare_input(pictures, *state, /*pictures=*/true);
  for (const auto* each : {&table, &texts, &pictures}) command->describe(*each);
  for (const auto* method : adapters::methods()) {
    adapters::AdapterConfig config = adapters::make_config(method->name());
    OptionTable own;
    config.declare(own);
    command->describe(own);
  }
  command->on_run([command, state] { return run(*command, *state); });
}

}  // namespace lowrank::cli
