// lowrank inspect: what a file or folder is, and what would not load.
#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>

#include "lowrank/adapters/dialects/base_weights.h"
#include "lowrank/adapters/dialects/kohya_metadata.h"
#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/base/error.h"
#include "lowrank/cli/adapter_facts.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/image_session.h"
#include "lowrank/cli/session.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/io/tensor_file.h"
#include "lowrank/models/model.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/load.h"

namespace lowrank::cli {

namespace {

namespace fs = std::filesystem;

struct InspectOptions {
  std::string model;
};

/// The adapter's dialect by its tensors' names, nullptr for a checkpoint.
const adapters::Dialect* dialect_of(const io::TensorFile& file) {
  adapters::StoredPart names{"", {}, file.metadata(), {}};
  for (const auto& tensor : file.tensors()) names.tensors[tensor.name];
  adapters::Stored stored;
  stored.push_back(std::move(names));
  return adapters::dialect_of(stored);
}

std::string dialect_text(const io::TensorFile& file) {
  if (const auto* dialect = dialect_of(file)) return std::string(dialect->name());
  const bool peft = !file.tensors().empty() && file.tensors().front().name.starts_with("base_model.model.");
  return peft ? "peft" : "plain (a checkpoint, or an adapter of unknown naming)";
}

Json describe_file(const fs::path& path) {
  const io::TensorFile file = io::TensorFile::open(path);
  std::map<std::string, int64_t> dtypes;
  int64_t bytes = 0, elements = 0;
  for (const auto& tensor : file.tensors()) {
    ++dtypes[std::string(io::to_string(tensor.dtype))];
    bytes += static_cast<int64_t>(tensor.bytes.size());
    elements += tensor.numel();
  }
  return {{"container", "safetensors"},
          {"dialect", dialect_text(file)},
          {"tensors", file.tensors().size()},
          {"elements", elements},
          {"bytes", bytes},
          {"dtypes", dtypes},
          {"metadata", file.metadata()}};
}

/// The hashes that A1111 shows, and whether they are this file's.
void describe_hashes(const adapters::ReadAdapter& adapter, const fs::path& path, Json& facts) {
  const auto& metadata = adapter.record.metadata;
  if (!metadata.contains("sshs_model_hash")) return;
  const auto [model, legacy] = adapters::kohya_hashes(tensor::load_tensors(path), metadata);
  const auto verdict = [&](const char* key, const std::string& actual) {
    if (!metadata.contains(key)) return;
    facts["hashes"][key] = metadata.at(key) == actual ? actual : fmt::format("{} (the tensors give {})", metadata.at(key), actual);
  };
  verdict("sshs_model_hash", model);
  verdict("sshs_legacy_hash", legacy);
}

bool holds_adapter_folders(const fs::path& path) {
  for (const auto& entry : fs::directory_iterator(path)) {
    if (fs::exists(entry.path() / "adapter_config.json")) return true;
  }
  return false;
}

/// Adds what an adapter file says to the facts about its container; with a model, whether it fits.
void describe_adapter_file(const fs::path& path, const std::string& model, Json& facts) {
  const at::NoGradGuard no_grad;
  std::optional<adapters::BaseWeights> base;
  if (!model.empty()) base.emplace(model);
  const adapters::ModelLayout* layout = base ? &base->layout() : nullptr;
  const adapters::ReadAdapter adapter = adapters::read_adapter(path, {"", layout, ""});
  const Json more = adapter_facts(adapter);
  for (const auto& [key, value] : more.items()) facts[key] = value;
  describe_hashes(adapter, path, facts);
  if (layout != nullptr) adapters::check_fit(adapter.record, *layout, path.string());
}

/// Rank, scale and tensor norms of one adapted module; the size of the update relative to W when the base is at hand.
Json describe_module(const adapters::AdapterConfig& config, const adapters::Attached& module) {
  const at::NoGradGuard no_grad;
  const auto shape = module.host->shape();
  Json row = {{"module", module.module}, {"kind", shape.kind},          {"out", shape.out},
              {"in", shape.in},          {"rank", module.options.rank}, {"alpha", module.options.alpha}};
  row["scale"] = config.method->effective_scale(module.options, shape);
  for (const auto& parameter : module.adapter->named_parameters()) row["norms"][parameter.key()] = parameter.value().norm().item<double>();
  const at::Tensor w = module.host->matrix().to(at::kFloat);
  row["relative_update"] = ((module.adapter->apply_to_weight(w) - w).norm() / w.norm()).item<double>();
  return row;
}

Json describe_adapter(const fs::path& path, const std::string& model_folder) {
  Json result = describe_file(path / "adapter_model.safetensors");
  const adapters::PeftFolder folder = adapters::read_peft(path);
  result["method"] = folder.config.method->name();
  result["config"] = folder.config.to_json();
  result["base_model"] = folder.context.base_model;
  result["modules_to_save"] = folder.context.modules_to_save;
  if (model_folder.empty()) return result;
  SessionOptions options{.model = model_folder, .adapter = path.string()};
  const Session session = open_session(options, Need::embeddings);
  result["modules"] = Json::array();
  for (const auto& module : session.adapters->modules) result["modules"].push_back(describe_module(session.adapters->config, module));
  return result;
}

Json describe_model(const fs::path& path) {
  Json result = describe_file(path);
  const Json config = read_json(path / "config.json");
  result["model_type"] = config.value("model_type", "");
  result["architectures"] = config.value("architectures", Json::array());
  result["labels"] = models::stored_head(path).labels;
  const auto model = models::load_model(path, models::stored_head(path));
  result["adaptable_modules"] = nn::hosts_of(*model).size();
  return result;
}

bool is_checkpoint(const io::TensorFile& file) {
  return std::ranges::any_of(file.tensors(), [](const auto& tensor) { return tensor.name.starts_with("model.diffusion_model."); });
}

/// Adds what an image model is made of. All of it is loaded, so what would not load is an error.
void describe_pipeline(const fs::path& path, Json& facts) {
  const models::Pipeline pipeline = models::load_pipeline(path, stored_dtype(path));
  facts["pipeline"] = pipeline.model_index.value("_class_name", "");
  facts["scheduler"] = pipeline.scheduler.value("_class_name", "");
  facts["prediction"] = pipeline.scheduler.value("prediction_type", "epsilon");
  auto components = generate::adaptable_components(pipeline);
  components.emplace_back("vae", pipeline.vae);
  for (const auto& [name, module] : components) {
    int64_t elements = 0;
    for (const auto& parameter : module->parameters()) elements += parameter.numel();
    facts[name] = fmt::format("{} numbers in {}, {} adaptable layers", count_text(elements),
                              tensor::dtype_name(module->parameters().front().scalar_type()), nn::hosts_of(*module).size());
  }
  facts["tokenizer"] = !pipeline.folder.empty() && fs::is_directory(pipeline.folder / "tokenizer");
}

/// Fills `facts` as far as it can before an error.
void describe(const fs::path& path, const std::string& model, Json& facts) {
  if (fs::exists(path / "adapter_config.json")) {
    facts = describe_file(path / "adapter_model.safetensors");
    facts = describe_adapter(path, model);
  } else if (fs::exists(path / "config.json")) {
    facts = describe_model(path);
  } else if (fs::exists(path / "model_index.json")) {
    facts["container"] = "diffusers folder";
    describe_pipeline(path, facts);
  } else if (fs::is_directory(path) && holds_adapter_folders(path)) {
    facts["container"] = "folders";
    describe_adapter_file(path, model, facts);
  } else {
    facts = describe_file(path);
    const io::TensorFile file = io::TensorFile::open(path);
    if (is_checkpoint(file)) {
      describe_pipeline(path, facts);
    } else if (dialect_of(file) != nullptr) {
      describe_adapter_file(path, model, facts);
    }
  }
}

void print_modules(const Json& modules) {
  std::cout << fmt::format("\n{:<52}{:>12}{:>6}{:>8}{:>14}\n", "module", "shape", "rank", "scale", "‖ΔW‖/‖W‖");
  for (const auto& row : modules) {
    std::cout << fmt::format("{:<52}{:>12}{:>6}{:>8.3g}{:>12.4f}\n", row["module"].get<std::string>(),
                             fmt::format("{} x {}", row["out"].get<int64_t>(), row["in"].get<int64_t>()), row["rank"].get<int64_t>(),
                             row["scale"].get<double>(), row["relative_update"].get<double>());
  }
}

void print(const Json& facts) {
  for (const auto& [key, value] : facts.items()) {
    if (key == "modules" || key == "blocks") continue;
    if (value.is_array() && !value.empty() && value[0].is_string()) {
      for (const auto& line : value) std::cout << fmt::format("{:<20}{}\n", key, line.get<std::string>());
      continue;
    }
    const std::string text = value.is_string() ? value.get<std::string>()
                             : key == "bytes"  ? bytes_text(value.get<int64_t>())
                                               : value.dump();
    std::cout << fmt::format("{:<20}{}\n", key, text);
  }
  if (facts.contains("modules")) print_modules(facts["modules"]);
  if (facts.contains("blocks")) std::cout << "\n" << block_chart(facts["blocks"]);
}

/// What cannot be read is part of the answer: the facts up to there, then the reason, and the error's exit status.
int run(const std::string& path, const InspectOptions& options, bool json) {
  check(!path.empty(), ErrorKind::invalid_argument, "inspect", "expected a file or folder, got none");
  Json facts;
  int status = 0;
  try {
    describe(path, options.model, facts);
  } catch (const Error& error) {
    if (facts.is_null()) throw;
    facts["would_not_load"] = error.what();
    status = exit_status(error.kind());
  }
  if (status == 0 && facts.contains("would_not_load")) status = exit_status(ErrorKind::file_format);
  if (json) {
    std::cout << format_json(facts);
  } else {
    print(facts);
  }
  return status;
}

}  // namespace

void add_inspect(CLI::App& app) {
  struct State {
    InspectOptions options;
    OptionTable table;
    std::string path;
  };
  auto state = std::make_shared<State>();
  auto command = std::make_shared<Command>(app, "inspect", "what an adapter, model or tensor file is, and what would not load",
                                           "lowrank inspect run/adapter --model MODEL");
  state->table.add("model", state->options.model, "base model: scale and size of every layer's update, and whether an image adapter fits")
      .group("Model");
  command->describe(state->table);
  command->positional("path", state->path, "adapter folder, model folder or .safetensors file");
  command->on_run([command, state] {
    command->apply(state->table);
    command->finish("inspect");
    return run(state->path, state->options, command->json());
  });
}

}  // namespace lowrank::cli
