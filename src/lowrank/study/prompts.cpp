#include "lowrank/study/prompts.h"

#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/stack.h>
#include <algorithm>
#include <limits>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/hash.h"
#include "lowrank/base/json.h"
#include "lowrank/study/drawing.h"

namespace lowrank::study {

namespace {

namespace fs = std::filesystem;

constexpr int64_t kOutline = 16;     // cells a side
constexpr double kBackground = 0.9;  // darker than this in any colour is ink: pictures lie on white
const std::vector<std::string> kWays = {"features", "colour", "outline"};

/// Mean of a picture's colours, each pixel weighted by its chroma, the largest minus the smallest of R, G and B: [3].
at::Tensor colour_of(const at::Tensor& picture) {
  const at::Tensor chroma = picture.amax(0, true) - picture.amin(0, true);
  const double weight = chroma.sum().item<double>();
  return weight > 0 ? (picture * chroma).sum({1, 2}) / weight : picture.mean({1, 2});
}

/// Share of ink in each cell of a coarse grid, [cells].
at::Tensor outline_of(const at::Tensor& picture) {
  const at::Tensor ink = (picture.amin(0) < kBackground).to(at::kFloat);
  return at::adaptive_avg_pool2d(ink.unsqueeze(0), {kOutline, kOutline}).flatten();
}

Gallery read_gallery(const std::string& name, const Json& json, const fs::path& folder, const std::string& where) {
  Gallery gallery{.name = name, .by = json_get<std::string>(json, "by", "features", where), .pictures = {}};
  check(std::ranges::find(kWays, gallery.by) != kWays.end(), ErrorKind::file_format, where, "gallery '{}': expected by one of {}, got '{}'",
        name, fmt::join(kWays, ", "), gallery.by);
  for (const auto& [key, _] : json.items()) {
    check(key == "by" || key == "classes", ErrorKind::file_format, where, "gallery '{}': unknown key '{}'{}", name, key,
          did_you_mean(key, {"by", "classes"}));
  }
  const Json classes = json_get<Json>(json, "classes", Json::object(), where);
  for (const auto& [label, files] : classes.items()) {
    for (const auto& file : files.get<std::vector<std::string>>()) gallery.pictures.emplace_back(label, folder / file);
  }
  check(!gallery.pictures.empty(), ErrorKind::file_format, where, "gallery '{}': expected pictures by class, got none", name);
  return gallery;
}

Prompt read_prompt(const Json& json, const std::vector<Gallery>& galleries, const std::string& where) {
  Prompt prompt;
  std::vector<std::string> keys = {"prompt"};
  for (const Gallery& gallery : galleries) keys.push_back(gallery.name);
  for (const auto& [key, value] : json.items()) {
    check(std::ranges::find(keys, key) != keys.end() && value.is_string(), ErrorKind::file_format, where,
          "expected '{}' as a text, got '{}'{}", fmt::join(keys, "', '"), key, did_you_mean(key, keys));
    if (key == "prompt") {
      prompt.text = value.get<std::string>();
    } else {
      prompt.wanted[key] = value.get<std::string>();
    }
  }
  for (const Gallery& gallery : galleries) {
    const auto wanted = prompt.wanted.find(gallery.name);
    if (wanted == prompt.wanted.end()) continue;
    const bool known = std::ranges::any_of(gallery.pictures, [&](const auto& one) { return one.first == wanted->second; });
    check(known, ErrorKind::file_format, where, "prompt '{}': the gallery '{}' has no class '{}'", prompt.text, gallery.name,
          wanted->second);
  }
  check(!prompt.text.empty() && !prompt.wanted.empty(), ErrorKind::file_format, where,
        "expected a prompt and the class wanted of it, got {}", json.dump());
  return prompt;
}

}  // namespace

PromptSet read_prompts(const fs::path& file) {
  const std::string where = file.string();
  const Json json = read_json(file);
  check(json.is_object() && json.contains("galleries") && json.contains("prompts") && json.size() == 2, ErrorKind::file_format, where,
        "expected an object with 'galleries' and 'prompts'");
  PromptSet set;
  Sha256 hash;
  hash.update(format_json_line(json));
  for (const auto& [name, gallery] : json["galleries"].items()) {
    set.galleries.push_back(read_gallery(name, gallery, file.parent_path(), where));
    for (const auto& [_, path] : set.galleries.back().pictures) hash.update(sha256_hex(read_file(path)));
  }
  for (const Json& prompt : json["prompts"]) set.prompts.push_back(read_prompt(prompt, set.galleries, where));
  check(!set.prompts.empty(), ErrorKind::file_format, where, "expected prompts, got none");
  set.hash = hash.hex();
  return set;
}

Identifier::Identifier(const Gallery& gallery, const data::ImageDataOptions& options, evaluate::PictureFeatures& features, int64_t batch)
    : name_(gallery.name), by_(gallery.by), features_(features), batch_(batch) {
  std::vector<data::ImageSample> samples;
  for (const auto& [label, path] : gallery.pictures) {
    classes_.push_back(label);
    samples.push_back({.path = path, .name = path.filename().string(), .caption = "", .label = "", .mask = {}});
  }
  data::ImageDataOptions plain = options;
  plain.bucket = false;  // features of one length
  plain.broken_pictures = "error";
  plain.images = gallery.name;
  examples_ = at::stack(points_of(drawing_set(data::read_samples(std::move(samples), plain), plain).truth));
}

std::vector<at::Tensor> Identifier::points_of(const std::vector<at::Tensor>& pictures) const {
  if (by_ == "features") return features_of(features_, pictures, batch_);
  std::vector<at::Tensor> points;
  for (const at::Tensor& picture : pictures) points.push_back(by_ == "colour" ? colour_of(picture) : outline_of(picture));
  return points;
}

at::Tensor Identifier::distances_to(const at::Tensor& point) const {
  const at::Tensor rows = point.expand_as(examples_);
  return by_ == "features" ? features_.distances(rows, examples_) : (rows - examples_).norm(2, {1});
}

std::vector<std::string> Identifier::classes_of(const std::vector<at::Tensor>& pictures) const {
  std::vector<std::string> found;
  for (const at::Tensor& point : points_of(pictures)) {
    found.push_back(classes_[static_cast<size_t>(distances_to(point).argmin().item<int64_t>())]);
  }
  return found;
}

double Identifier::own_error(const std::string& name) const {
  double wrong = 0, count = 0;
  for (size_t i = 0; i < classes_.size(); ++i) {
    if (classes_[i] != name) continue;
    at::Tensor others = distances_to(examples_[static_cast<int64_t>(i)]).clone();
    others[static_cast<int64_t>(i)] = std::numeric_limits<float>::infinity();
    wrong += classes_[static_cast<size_t>(others.argmin().item<int64_t>())] != name;
    count += 1;
  }
  return wrong / count;
}

std::string Identifier::explanation() const {
  const std::string by = by_ == "colour"    ? "mean colour, each pixel weighted by its chroma"
                         : by_ == "outline" ? "outline, the share of ink in 16 × 16 cells"
                                            : "features";
  return fmt::format(
      "the share of prompts whose picture is nearest, by {}, to an example of another {} than the one asked for, among {} examples", by,
      name_, classes_.size());
}

}  // namespace lowrank::study
