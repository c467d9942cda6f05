#include "lowrank/tensor/load.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <map>

#include "lowrank/base/error.h"
#include "lowrank/base/log.h"
#include "lowrank/io/tensor_file.h"
#include "lowrank/models/family.h"
#include "lowrank/models/fresh.h"
#include "lowrank/models/image_model.h"
#include "lowrank/models/weights.h"
#include "lowrank/nn/new_weights.h"

namespace lowrank::models {

namespace fs = std::filesystem;

namespace {

constexpr size_t kShown = 6;

std::string some_of(const std::vector<std::string>& names) {
  const std::vector<std::string> shown(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kShown)));
  return fmt::format("{}{}", fmt::join(shown, ", "), names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "");
}

/// The last part of a name under which early checkpoints, converted from TensorFlow, hold LayerNorm's parameters.
std::string modern(std::string name) {
  for (const auto& [old, now] : {std::pair{"LayerNorm.gamma", "LayerNorm.weight"}, std::pair{"LayerNorm.beta", "LayerNorm.bias"}}) {
    if (name.ends_with(old)) name.replace(name.size() - std::string_view(old).size(), std::string::npos, now);
  }
  return name;
}

bool same_head(const HeadOptions& a, const HeadOptions& b) {
  return a.kind == b.kind && (a.kind == HeadKind::regression || a.labels == b.labels);
}

}  // namespace

/// Fills a family's model from a checkpoint whose names may carry the encoder's prefix or not.
class ModelLoader {
 public:
  ModelLoader(const fs::path& folder, const HeadOptions& head, at::ScalarType dtype)
      : folder_(folder),
        where_((folder / "config.json").string()),
        dtype_(dtype),
        config_(read_json(folder / "config.json")),
        family_(family_of(config_, where_)),
        file_(io::TensorFile::open(folder)),
        problems_(ErrorKind::file_format, file_.path().string()) {
    for (const auto& view : file_.tensors()) {
      const auto [other, added] = stored_.emplace(key_of(view.name), &view);
      if (!added) problems_.add(fmt::format("'{}' and '{}' are the same parameter", other->second->name, view.name));
    }
    const nn::NewWeights weights({}, nn::NewWeightsAre::replaced);
    model_ = family_.make(config_, where_, head, has_module("pooler"));
    model_->config_ = config_;
  }

  std::unique_ptr<Model> load() {
    choose_new_modules();
    for (auto& parameter : model_->named_parameters()) {
      if (model_->is_new(parameter.key())) {
        begin(parameter.key(), parameter.value());
      } else {
        fill(parameter.key(), parameter.value());
      }
    }
    report_unread();
    problems_.raise_if_any("are config.json and the weights of the same model, and was the download complete?");
    return std::move(model_);
  }

 private:
  /// The name inside the encoder: "encoder.layer.0…", "classifier.weight".
  std::string key_of(const std::string& name) const {
    return family_.name_here(modern(name.starts_with(family_.prefix) ? name.substr(family_.prefix.size()) : name));
  }

  bool has_module(const std::string& module) const {
    const auto first = stored_.lower_bound(module + ".");
    return first != stored_.end() && first->first.starts_with(module + ".");
  }

  void choose_new_modules() {
    if (model_->may_be_new_.empty()) return;
    const HeadOptions stored = stored_head(folder_);
    const bool keeps_head = same_head(stored, model_->head_);
    for (const auto& module : model_->may_be_new_) {
      const bool held = has_module(key_of(module));
      const bool is_head = std::ranges::find(model_->head_modules_, module) != model_->head_modules_.end();
      if (held && (keeps_head || !is_head)) continue;
      model_->new_modules_.push_back(module);
      if (held && stored.kind != HeadKind::none) {
        log(LogLevel::warning, "models",
            fmt::format("{}: the stored '{}' is for other labels ({}); a new one is made", where_, module, some_of(stored.labels)));
      }
    }
  }

  void begin(const std::string& name, at::Tensor& parameter) {
    parameter.set_data(parameter.detach().to(dtype_ == at::kDouble ? at::kDouble : at::kFloat).contiguous());
    initialise(name, parameter, json_get<double>(config_, "initializer_range", 0.02, where_), model_->head_.seed);
    parameter.set_requires_grad(true);
  }

  void fill(const std::string& name, at::Tensor& parameter) {
    const auto found = stored_.find(key_of(name));
    if (found == stored_.end()) return problems_.add(fmt::format("tensor '{}' is missing", name));
    const io::TensorView view = *found->second;
    stored_.erase(found);
    if (const auto problem = put(parameter, view, {dtype_})) problems_.add(*problem);
  }

  static bool is_buffer(const std::string& key) {
    return key.ends_with("embeddings.position_ids") || key.ends_with("embeddings.token_type_ids");
  }

  /// A buffer of older checkpoints that says nothing: 0, 1, 2, … or zeros.
  static bool is_empty_buffer(const std::string& key, const io::TensorView& view) {
    if (!is_buffer(key)) return false;
    const at::Tensor values = tensor::to_tensor(view).flatten().to(at::kLong);
    return at::equal(values, at::arange(values.numel())) || at::equal(values, at::zeros_like(values));
  }

  void report_unread() {
    std::vector<std::string> left;
    for (const auto& [key, view] : stored_) {
      if (is_empty_buffer(key, *view)) continue;
      if (is_buffer(key) || std::ranges::any_of(family_.other_heads, [&](auto head) { return key.starts_with(head); })) {
        left.push_back(view->name);
      } else {
        problems_.add(fmt::format("tensor '{}' belongs to nothing in {}", view->name, model_->architecture()));
      }
    }
    if (left.empty()) return;
    log(LogLevel::info, "models", fmt::format("{}: not needed and left unread: {}", file_.path().string(), some_of(left)));
  }

  fs::path folder_;
  std::string where_;
  at::ScalarType dtype_;
  Json config_;
  const Family& family_;
  io::TensorFile file_;
  Problems problems_;
  std::map<std::string, const io::TensorView*> stored_;  // by key, until read
  std::unique_ptr<Model> model_;
};

std::unique_ptr<Model> load_model(const fs::path& folder, const HeadOptions& head, at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  check(fs::is_directory(folder), ErrorKind::io, folder.string(), "expected a model folder with config.json, got no folder");
  auto model = ModelLoader(folder, head, dtype).load();
  auto* image_model = dynamic_cast<ImageModel*>(model.get());
  if (image_model == nullptr) return model;
  if (fs::exists(folder / "preprocessor_config.json")) {
    image_model->set_processor(stored_image_processor(folder));
  } else {
    log(LogLevel::warning, "models", fmt::format("{}: no preprocessor_config.json; pixels are scaled to −1 … 1", folder.string()));
  }
  return model;
}

}  // namespace lowrank::models
