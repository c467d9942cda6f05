// lowrank compare: which method fits this data?
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/diffusion_run.h"
#include "lowrank/cli/run_options.h"
#include "lowrank/cli/session.h"
#include "lowrank/cli/study_run.h"
#include "lowrank/study/encoder_study.h"
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

int run(Command& command, CompareState& state) {
  if (is_image_pipeline(command.given("model"))) return compare_drawn(command);
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
  study::EncoderStudyRequest what{
      .model = state.model, .split = &split, .train = state.train, .adapter_for = {}, .robustness = state.robustness};
  what.adapter_for = [&configs](const std::string& method) { return adapters::AdapterConfig::from_json(configs.at(method).to_json()); };
  study::EncoderStudy kind(std::move(what));
  study::CompareRequest request{.out = state.out, .options = state.compare, .first_seed = state.train.seed};
  request.resolved = resolved(state, configs);
  request.title = state.title;
  request.command = fmt::format("lowrank compare --model {} --data {} --out {}", state.model, state.data.data, state.out);
  return run_study(command, request, kind, line);
}

}  // namespace

void add_compare(CLI::App& app) {
  auto state = std::make_shared<CompareState>();
  auto command = std::make_shared<Command>(
      app, "compare", "which method fits this data?",
      "lowrank compare --model MODEL --data reviews.csv --out study\n"
      "  lowrank compare --model MODEL --data data/ --methods lora,lokr --seeds 5 --rank 8 --out study\n"
      "  lowrank compare --model SD_FOLDER --data pictures/ --test other-pictures/ --methods lora,dora --out study");
  OptionTable table, texts, pictures;
  declare_compare(table, *state);
  declare_input(texts, *state, /*pictures=*/false);
  declare_input(pictures, *state, /*pictures=*/true);
  for (const auto* each : {&table, &texts, &pictures}) command->describe(*each);
  describe_drawn(*command);
  for (const auto* method : adapters::methods()) {
    adapters::AdapterConfig config = adapters::make_config(method->name());
    OptionTable own;
    config.declare(own);
    command->describe(own);
  }
  command->on_run([command, state] { return run(*command, *state); });
}

}  // namespace lowrank::cli
