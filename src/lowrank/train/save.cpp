#include "lowrank/train/save.h"

#include <algorithm>

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/hash.h"
#include "lowrank/data/images/picture_rows.h"
#include "lowrank/io/tensor_file.h"
#include "lowrank/models/image_model.h"
#include "lowrank/train/description.h"

namespace lowrank::train {

namespace fs = std::filesystem;

namespace {

constexpr size_t kSample = 4096;

template <class T>
void add_list(Sha256& hash, const std::vector<T>& values) {
  hash.update(fmt::format("{}:", values.size())).update(std::as_bytes(std::span(values)));
}

void add_dataset(Sha256& hash, const data::Dataset& dataset) {
  hash.update(fmt::format("{} rows, {}, {} classes;", dataset.size(), data::to_string(dataset.task), dataset.classes));
  for (const data::Example& example : dataset.examples) {
    add_list(hash, example.ids);
    add_list(hash, example.type_ids);
    add_list(hash, example.pair_ids);
    add_list(hash, example.labels);
    hash.update(std::as_bytes(std::span(&example.value, 1))).update(std::as_bytes(std::span(&example.id, 1)));
  }
  for (int64_t row = 0; dataset.pictures && row < dataset.size(); ++row) hash.update(dataset.pictures->key(row));
  hash.update(data::to_text(dataset.augment));
}

/// The head's parameters by plain name, when it trained.
tensor::TensorMap trained_heads(const Trainee& trainee, const std::vector<std::string>& modules) {
  tensor::TensorMap heads;
  for (const auto& parameter : trainee.model->named_parameters()) {
    const bool below = std::ranges::any_of(modules, [&](const auto& module) { return parameter.key().starts_with(module + "."); });
    if (below) heads[parameter.key()] = parameter.value();
  }
  return heads;
}

void write_adapter(const fs::path& folder, const fs::path& base_model, const Trainee& trainee, const Json& description) {
  const bool has_head = trainee.model->head().kind != models::HeadKind::none;
  const bool pictures = dynamic_cast<const models::ImageModel*>(trainee.model.get()) != nullptr;
  adapters::PeftContext context{.base_model = base_model.string(),
                                .task_type = !has_head  ? "FEATURE_EXTRACTION"
                                             : pictures ? ""
                                                        : "SEQ_CLS"};
  context.notes = description;
  if (has_head) context.modules_to_save = trainee.model->head_modules();
  const tensor::TensorMap heads = trained_heads(trainee, context.modules_to_save);
  adapters::write_peft(folder, *trainee.adapters, heads, context);
  adapters::verify_peft(folder, *trainee.adapters, heads);
}

}  // namespace

fs::path save_result(const fs::path& out, const fs::path& base_model, const Trainee& trainee, const Json& description) {
  const fs::path target = out / (trainee.adapters ? "adapter" : "model");
  AtomicFolder folder(target);
  if (trainee.adapters) {
    write_adapter(folder.path(), base_model, trainee, description);
  } else {
    models::save_model(folder.path(), *trainee.model, base_model);
    write_file_atomic(folder.path() / "lowrank.json", format_json(description));
  }
  folder.commit();
  return target;
}

Json describe(const TrainRequest& request, const Trainee& trainee, const Json& result) {
  Json description = describe_run(request, {trainee.method, request.model, model_fingerprint(request.model), request.split->report.hash},
                                  Json::object(), result);
  description["task"] = data::to_string(trainee.task);
  description["labels"] = request.split->labels.names;
  description["pooling"] = trainee.pooling == models::Pooling::cls ? "cls" : "mean";
  description["data_fingerprint"] = data_fingerprint(*request.split);
  if (!request.split->train.pictures) description["max_length"] = request.split->report.max_length;
  if (trainee.adapters) description["adapter"] = trainee.adapters->config.to_json();
  return description;
}

std::string model_fingerprint(const fs::path& folder) {
  const io::TensorFile file = io::TensorFile::open(folder);
  Sha256 hash;
  hash.update(read_file(folder / "config.json"));
  for (const io::TensorView& view : file.tensors()) {
    hash.update(fmt::format("{} {} {};", view.name, io::to_string(view.dtype), fmt::join(view.shape, ",")));
    const size_t part = std::min(kSample, view.bytes.size());
    hash.update(view.bytes.first(part)).update(view.bytes.last(part));
  }
  return hash.hex();
}

std::string data_fingerprint(const data::Split& split) {
  Sha256 hash;
  for (const data::Dataset* part : {&split.train, &split.validation, &split.test}) add_dataset(hash, *part);
  for (const std::string& label : split.labels.names) hash.update(fmt::format("{}:{}", label.size(), label));
  return hash.hex();
}

}  // namespace lowrank::train
