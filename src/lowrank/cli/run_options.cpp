#include "lowrank/cli/run_options.h"

#include "lowrank/base/error.h"
#include "lowrank/cli/session.h"
#include "lowrank/tensor/runtime.h"

namespace lowrank::cli {

namespace {

void declare_run(OptionTable& table, RunOptions& options) {
  std::vector<std::string> methods = {"none", "full"};
  for (const auto* method : adapters::methods())
    methods.insert(methods.begin() + static_cast<long>(methods.size()) - 2, std::string(method->name()));
  table.add("model", options.model, "model folder (config.json, model.safetensors, tokenizer.json)").group("Model");
  table.add("method", options.method, "how to adapt; none: the head alone, full: all weights").choices(methods).group("Method");
  table.add("out", options.out, "folder for the result").group("Model");
  declare(table, options.data);
  declare(table, options.train);
}

}  // namespace

void describe_run(Command& command, RunOptions& options) {
  OptionTable table;
  declare_run(table, options);
  command.describe(table);
  for (const auto* method : adapters::methods()) {
    adapters::AdapterConfig config = adapters::make_config(method->name());
    OptionTable own;
    config.declare(own);
    command.describe(own);
  }
}

train::TrainRequest make_request(Command& command, RunOptions& options) {
  OptionTable table;
  declare_run(table, options);
  command.apply(table);
  train::TrainRequest request{.model = options.model, .method = options.method};
  request.out = options.out;
  if (options.method != "none" && options.method != "full") {
    adapters::AdapterConfig config = adapters::make_config(options.method);
    OptionTable own;
    config.declare(own);
    command.apply(own);
    config.seed = static_cast<uint64_t>(options.train.seed);
    // Scale 1 whatever the rank, unless the user says otherwise.
    if (command.given("alpha").empty()) config.alpha = static_cast<double>(config.rank);
    request.adapter = std::move(config);
  }
  command.finish(fmt::format("method '{}'", options.method));
  require_model_folder(options.model);
  tensor::initialise_runtime(options.train.threads);
  request.options = options.train;
  OptionTable data_table;
  declare(data_table, options.data);
  request.record = {{"data", data_table.resolved()}};
  return request;
}

PreparedData prepare_data(const std::string& model, data::DataOptions& options, const ProgressSink& progress) {
  PreparedData prepared{.tokenizer = text::Tokenizer::load(model)};
  prepared.split = data::prepare(options, prepared.tokenizer, progress);
  return prepared;
}

}  // namespace lowrank::cli
