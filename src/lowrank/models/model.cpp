#include "lowrank/models/model.h"

#include <algorithm>

#include "lowrank/base/error.h"
#include "lowrank/models/family.h"
#include "lowrank/models/image_model.h"
#include "lowrank/models/output_rows.h"
#include "lowrank/models/text_model.h"

namespace lowrank::models {

namespace {

nn::RowKeys sample_keys(const Batch& batch) {
  if (const auto* texts = std::get_if<nn::Packed>(&batch)) return first_row_keys(*texts);
  return std::get<nn::Pictures>(batch).keys;
}

/// The batch as what the model reads.
template <class Wanted>
const Wanted& wanted(const Batch& batch, const Model& model, std::string_view name) {
  const auto* found = std::get_if<Wanted>(&batch);
  check(found != nullptr, ErrorKind::invalid_argument, model.architecture(), "expected a batch of {}", name);
  return *found;
}

template <class Wanted>
std::unique_ptr<Wanted> load_as(const std::filesystem::path& folder, const HeadOptions& head, at::ScalarType dtype,
                                std::string_view reads) {
  auto model = load_model(folder, head, dtype);
  auto* found = dynamic_cast<Wanted*>(model.get());
  check(found != nullptr, ErrorKind::unsupported, folder.string(), "expected a model that reads {}, got {}", reads, model->architecture());
  model.release();
  return std::unique_ptr<Wanted>(found);
}

}  // namespace

std::vector<std::string> Model::head_modules() const {
  std::vector<std::string> names = head_modules_;
  for (const auto& name : new_modules_) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

bool Model::is_new(const std::string& parameter) const {
  return std::ranges::any_of(new_modules_, [&](const std::string& module) { return parameter.starts_with(module + "."); });
}

at::Tensor Model::logits(const Batch& batch) {
  const nn::RowKeys keys = sample_keys(batch);
  return classify(features(batch), keys.empty() ? nullptr : &keys);
}

at::Tensor TextModel::features(const Batch& batch) { return encode(wanted<nn::Packed>(batch, *this, "texts"), /*first_token_only=*/true); }

at::Tensor ImageModel::features(const Batch& batch) {
  return encode(wanted<nn::Pictures>(batch, *this, "pictures"), /*first_token_only=*/true);
}

std::unique_ptr<TextModel> load_text_model(const std::filesystem::path& folder, const HeadOptions& head, at::ScalarType dtype) {
  return load_as<TextModel>(folder, head, dtype, "texts");
}

std::unique_ptr<ImageModel> load_image_model(const std::filesystem::path& folder, const HeadOptions& head, at::ScalarType dtype) {
  return load_as<ImageModel>(folder, head, dtype, "pictures");
}

void ImageModel::set_processor(const ImageProcessor& processor) {
  const auto [height, width] = image_size();
  check(processor.height == height && processor.width == width, ErrorKind::unsupported, "preprocessor_config.json",
        "expected pictures of {} × {} (width × height), as config.json says, got {} × {}", width, height, processor.width,
        processor.height);
  processor_ = processor;
}

std::optional<PictureInput> picture_input(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  const Json config = read_json(path);
  const Family& family = family_of(config, path.string());
  if (family.picture_input == nullptr) return std::nullopt;
  return family.picture_input(config, path.string());
}

}  // namespace lowrank::models
