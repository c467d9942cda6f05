#include <torch/nn/module.h>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/models/family.h"
#include "lowrank/models/head.h"
#include "lowrank/models/weights.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/load.h"

namespace lowrank::models {

namespace fs = std::filesystem;

namespace {

constexpr const char* kInputFiles[] = {"preprocessor_config.json",
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.txt",
                                       "vocab.json",
                                       "merges.txt",
                                       "LICENSE"};
constexpr const char* kSentenceFiles[] = {"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling"};

void copy_if_there(const fs::path& from, const fs::path& to, const char* name) {
  if (!fs::exists(from / name)) return;
  std::error_code failed;
  fs::copy(from / name, to / name, fs::copy_options::recursive, failed);
  check(!failed, ErrorKind::io, (from / name).string(), "cannot copy it to {}: {}", to.string(), failed.message());
}

/// float32 if any tensor is: then every tensor keeps its values when a reader takes them all in that dtype.
at::ScalarType widest(const tensor::TensorMap& tensors) {
  at::ScalarType dtype = tensors.begin()->second.scalar_type();
  for (const auto& [name, value] : tensors) dtype = at::promote_types(dtype, value.scalar_type());
  return dtype;
}

}  // namespace

void save_model(const fs::path& folder, Model& model, const fs::path& base_folder) {
  refuse_unmerged(model);
  const Family& family = family_of(model.config(), "save");
  tensor::TensorMap tensors;
  for (const auto& parameter : model.named_parameters()) tensors.emplace(family.name_in_file(parameter.key()), parameter.value());
  Json config = model.config();
  config["architectures"] = {model.architecture()};
  config.erase("torch_dtype");
  config["dtype"] = tensor::dtype_name(widest(tensors));
  write_head(config, model.head());

  AtomicFolder target(folder);
  write_file_atomic(target.path() / "config.json", format_json(config));
  // transformers refuses a file whose metadata does not say "pt".
  tensor::save_tensors(target.path() / "model.safetensors", tensors, {{"format", "pt"}});
  for (const char* name : kInputFiles) copy_if_there(base_folder, target.path(), name);
  if (model.head().kind == HeadKind::none) {
    for (const char* name : kSentenceFiles) copy_if_there(base_folder, target.path(), name);
  }
  target.commit();
}

}  // namespace lowrank::models
