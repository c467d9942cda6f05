#include "lowrank/cli/session.h"

#include <filesystem>

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/base/error.h"
#include "lowrank/base/json.h"
#include "lowrank/cli/run_options.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/runtime.h"

namespace lowrank::cli {

namespace fs = std::filesystem;

namespace {

/// The number of outputs of the classifier that the adapter's folder carries; 0 when it carries none.
int64_t stored_outputs(const adapters::PeftFolder& folder) {
  for (const auto& [name, tensor] : folder.tensors) {
    const bool output = name == "classifier.weight" || name == "score.weight" || name.ends_with("classifier.out_proj.weight");
    if (output && tensor.dim() == 2) return tensor.size(0);
  }
  return 0;
}

models::HeadKind kind_of(const std::string& task, const std::string& where) {
  switch (data::parse_task(task)) {
    case data::Task::single_label: return models::HeadKind::single_label;
    case data::Task::multi_label: return models::HeadKind::multi_label;
    case data::Task::regression: return models::HeadKind::regression;
    case data::Task::embedding: return models::HeadKind::none;
  }
  fail(ErrorKind::internal, where, "no such task");
}

/// The head that an adapter was trained with: from lowrank.json, else from its tensors, with the base folder's label names
/// when their number agrees.
models::HeadOptions head_of(const adapters::PeftFolder& folder, const fs::path& model) {
  const Json& notes = folder.context.notes;
  if (notes.contains("task")) {
    return {.kind = kind_of(notes["task"].get<std::string>(), folder.path.string()),
            .labels = json_get<std::vector<std::string>>(notes, "labels", {}, (folder.path / "lowrank.json").string())};
  }
  const int64_t outputs = stored_outputs(folder);
  if (outputs == 0) return {};
  if (outputs == 1) return {.kind = models::HeadKind::regression};
  models::HeadOptions head = models::stored_head(model);
  if (static_cast<int64_t>(head.labels.size()) == outputs) return head;
  head = {.kind = models::HeadKind::single_label};
  for (int64_t i = 0; i < outputs; ++i) head.labels.push_back(fmt::format("LABEL_{}", i));
  return head;
}

int64_t max_length_of(const SessionOptions& options, const Json& notes) {
  if (options.max_length > 0) return options.max_length;
  if (notes.contains("max_length")) return notes["max_length"].get<int64_t>();
  const fs::path beside = fs::path(options.model) / "lowrank.json";  // a folder that train or merge wrote
  if (fs::exists(beside)) return json_get<int64_t>(read_json(beside), "max_length", 0, beside.string());
  return models::stored_max_length(options.model).value_or(0);
}

}  // namespace

void declare(OptionTable& table, SessionOptions& options) {
  table.add("model", options.model, "model folder (config.json, model.safetensors, tokenizer.json)").group("Model");
  table.add("adapter", options.adapter, "adapter folder (adapter_config.json, adapter_model.safetensors)").group("Model");
  table.add("max-length", options.max_length, "tokens of a text; 0: as the adapter or model was trained").range(0, 1 << 20).group("Model");
  table.add("device", options.device, "auto, cpu, cuda or cuda:N").group("Machine");
  table.add("dtype", options.dtype, "of weights and products").choices({"auto", "float32", "bfloat16"}).group("Machine");
  table.add("threads", options.threads, "of the CPU; 0: one a processor").range(0, 4096).group("Machine");
}

data::Task Session::task() const {
  switch (model->head().kind) {
    case models::HeadKind::single_label: return data::Task::single_label;
    case models::HeadKind::multi_label: return data::Task::multi_label;
    case models::HeadKind::regression: return data::Task::regression;
    case models::HeadKind::none: return data::Task::embedding;
  }
  return data::Task::embedding;
}

models::TextModel& Session::text_model(const std::string& where) const {
  auto* found = dynamic_cast<models::TextModel*>(model.get());
  check(found != nullptr, ErrorKind::invalid_argument, where, "expected a model of texts, got {}, which reads pictures",
        model->architecture());
  return *found;
}

void require_model_folder(const std::string& model) {
  const std::string hint =
      "a model folder holds config.json, model.safetensors and, for texts, tokenizer.json, as Hugging Face lays them out";
  if (model.empty()) fail(ErrorKind::invalid_argument, "--model", "expected a model folder, got none", hint);
  if (!fs::is_directory(model)) fail(ErrorKind::io, "--model", fmt::format("expected a model folder, but '{}' is none", model), hint);
}

Session open_session(const SessionOptions& options, Need need) {
  require_model_folder(options.model);
  tensor::initialise_runtime(options.threads);
  const auto device = tensor::parse_device(options.device);
  // Predictions are made once: float32 unless asked otherwise.
  const auto dtype = options.dtype == "auto" ? at::kFloat : tensor::parse_dtype(options.dtype);
  std::optional<adapters::PeftFolder> folder;
  if (!options.adapter.empty()) folder = adapters::read_peft(options.adapter);
  const models::HeadOptions head = folder ? head_of(*folder, options.model) : models::stored_head(options.model);
  if (need == Need::head && head.kind == models::HeadKind::none) {
    fail(ErrorKind::invalid_argument, "predict", "neither the model folder nor the adapter has a trained head",
         "give --adapter with a folder that lowrank train wrote, or the model/ folder of a run with --method full or none");
  }
  Session session{.model = models::load_model(options.model, head, dtype)};
  session.pictures = picture_shape(options.model);
  session.model->to(device);  // before the adapters, which are made where their hosts are
  if (folder) session.adapters = adapters::load_peft(*session.model, *folder, session.model->new_modules());
  session.model->eval();
  if (session.pictures) {
    check(options.max_length == 0, ErrorKind::invalid_argument, "--max-length", "expected none for a model of pictures, got {}",
          options.max_length);
    return session;
  }
  session.tokenizer = text::Tokenizer::load(options.model);
  const int64_t limit = max_length_of(options, folder ? folder->context.notes : Json::object()), most = session.text_model("").max_length();
  session.tokenizer->set_max_length(limit > 0 ? std::min(limit, most) : most);
  return session;
}

}  // namespace lowrank::cli
