#include "lowrank/cli/run_options.h"

#include "lowrank/base/error.h"
#include "lowrank/cli/session.h"
#include "lowrank/models/model.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/text/tokenizer.h"

namespace lowrank::cli {

namespace {

void declare_run(OptionTable& table, RunOptions& options) {
  std::vector<std::string> methods = {"none", "full"};
  for (const auto* method : adapters::methods())
    methods.insert(methods.begin() + static_cast<long>(methods.size()) - 2, std::string(method->name()));
  table.add("model", options.model, "model folder (config.json, model.safetensors, and tokenizer.json for texts)").group("Model");
  table.add("method", options.method, "how to adapt; none: the head alone, full: all weights").choices(methods).group("Method");
  table.add("out", options.out, "folder for the result").group("Model");
  declare(table, options.train);
}

}  // namespace

void describe_run(Command& command, RunOptions& options) {
  OptionTable table, texts, pictures;
  declare_run(table, options);
  declare(texts, options.data);
  data::declare_class_folders(pictures, options.data);
  for (const auto* each : {&table, &texts, &pictures}) command.describe(*each);
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
  require_model_folder(options.model);
  OptionTable data_table;
  declare_data(data_table, options.data, options.model);
  command.apply(data_table);
  options.data.threads = options.train.threads;
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
  command.finish(fmt::format("method '{}' and a model of {}", options.method, picture_shape(options.model) ? "pictures" : "texts"));
  tensor::initialise_runtime(options.train.threads);
  request.options = options.train;
  request.record = {{"data", data_table.resolved()}};
  return request;
}

void declare_data(OptionTable& table, data::DataOptions& options, const std::string& model) {
  if (picture_shape(model)) {
    data::declare_class_folders(table, options);
  } else {
    declare(table, options);
  }
}

data::Split prepare_data(const std::string& model, const data::DataOptions& options, const ProgressSink& progress) {
  if (const auto shape = picture_shape(model)) return data::prepare_pictures(options, *shape, progress);
  auto tokenizer = text::Tokenizer::load(model);
  return data::prepare(options, tokenizer, progress);
}

std::optional<data::PictureShape> picture_shape(const std::string& model) {
  const auto input = models::picture_input(model);
  if (!input) return std::nullopt;
  return data::PictureShape{{input->width, input->height}, input->tokens};
}

}  // namespace lowrank::cli
