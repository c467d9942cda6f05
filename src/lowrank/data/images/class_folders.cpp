#include "lowrank/data/images/class_folders.h"

#include <algorithm>
#include <array>
#include <map>

#include "lowrank/base/error.h"
#include "lowrank/base/hash.h"
#include "lowrank/data/parts.h"

namespace lowrank::data {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kKeepBytes = int64_t{1} << 30;  // of decoded pixels in memory, a part

const std::map<std::string, Part> kPartFolders = {{"train", Part::train},    {"validation", Part::validation}, {"valid", Part::validation},
                                                  {"val", Part::validation}, {"dev", Part::validation},        {"test", Part::test}};

void require_folder(const std::string& data) {
  check(!data.empty(), ErrorKind::invalid_argument, "--data", "expected a folder of class folders, got none");
  if (fs::is_directory(data)) return;
  fail(fs::exists(data) ? ErrorKind::invalid_argument : ErrorKind::io, "--data",
       fmt::format("expected a folder of class folders, got '{}'", data),
       "the model reads pictures: --data takes a folder with one folder of pictures a class, or with train, validation, test of those");
}

/// DIR itself, or its folders train, validation and test when it holds no other.
std::vector<DataFile> locate_class_folders(const std::string& data) {
  require_folder(data);
  std::vector<DataFile> parts;
  bool others = false;
  for (const auto& entry : fs::directory_iterator(data)) {
    if (!entry.is_directory()) continue;
    const auto found = kPartFolders.find(entry.path().filename().string());
    others |= found == kPartFolders.end();
    if (found != kPartFolders.end()) parts.push_back({found->second, entry.path()});
  }
  std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return std::tie(a.part, a.path) < std::tie(b.part, b.path); });
  if (others || parts.empty() || parts.front().part != Part::train) return {{Part::train, data}};
  for (size_t i = 1; i < parts.size(); ++i) {
    check(parts[i].part != parts[i - 1].part, ErrorKind::invalid_argument, data, "expected one {} folder, got '{}' and '{}'",
          to_string(parts[i].part), parts[i - 1].path.filename().string(), parts[i].path.filename().string());
  }
  return parts;
}

ImageDataOptions image_options(const DataOptions& options, const PictureShape& shape, const std::string& folder) {
  ImageDataOptions image;
  image.images = folder;
  image.layout = "classes";
  image.resolution = to_string(shape.size);
  image.bucket = false;
  image.broken_pictures = options.pictures.broken_pictures;
  image.background = options.pictures.background;
  image.max_megapixels = options.pictures.max_megapixels;
  image.threads = options.threads;
  return image;
}

/// Where a row's pixels are.
struct Source {
  size_t folder;
  int64_t entry;
};

struct Pictures {
  std::vector<std::shared_ptr<const ImageSet>> sets;  // a folder each
  std::vector<ImageDataOptions> how;
  Collection rows;
  std::vector<Source> sources;  // by row
  std::array<bool, 3> given{};  // by Part: it has a folder
};

Pictures read_folders(const std::vector<DataFile>& folders, const DataOptions& options, const PictureShape& shape,
                      const ProgressSink& progress, DataReport& report) {
  Pictures pictures;
  for (const auto& [part, path] : folders) {
    const auto how = image_options(options, shape, path.string());
    auto set = std::make_shared<ImageSet>(read_image_set(how, {}, progress));
    report.files.push_back({path.string(), "class folders", part, set->size(), 0});
    report.pictures.push_back(set->report);
    pictures.given[static_cast<size_t>(part)] = true;
    for (int64_t i = 0; i < set->size(); ++i) {
      const ImageEntry& entry = set->entries[static_cast<size_t>(i)];
      pictures.rows.rows.push_back({entry.sample.name, {}, {entry.sample.label}, 0});
      pictures.rows.places.push_back(folders.size() > 1 ? fmt::format("{}/{}", to_string(part), entry.sample.name) : entry.sample.name);
      pictures.rows.keys.push_back(entry.content_hash);
      pictures.rows.parts.push_back(part);
      pictures.sources.push_back({pictures.sets.size(), i});
    }
    pictures.sets.push_back(std::move(set));
    pictures.how.push_back(how);
  }
  return pictures;
}

/// A data set of the rows of `part`. The pixels of a part lie in one folder.
Dataset dataset_of(const Pictures& pictures, Part part, const LabelSet& labels, const PictureShape& shape) {
  Dataset dataset{.task = Task::single_label, .classes = labels.size()};
  std::vector<int64_t> entries;
  size_t folder = 0;
  for (size_t row = 0; row < pictures.rows.rows.size(); ++row) {
    if (pictures.rows.parts[row] != part) continue;
    folder = pictures.sources[row].folder;
    entries.push_back(pictures.sources[row].entry);
    dataset.examples.push_back({.labels = {labels.index(pictures.rows.rows[row].labels.front())},
                                .id = static_cast<int64_t>(row),
                                .picture_tokens = shape.tokens});
  }
  dataset.pictures = std::make_shared<PictureRows>(pictures.sets[folder], pictures.how[folder], std::move(entries), kKeepBytes);
  return dataset;
}

/// Checks the labels and completes the report.
void finish(const Pictures& pictures, const LabelSet& labels, DataReport& report) {
  check_labels(pictures.rows, Task::single_label, labels);
  count_labels(pictures.rows, labels, report);
  warn_of_few(pictures.rows, report);
  Sha256 hash;
  hash.update(hash_rows(pictures.rows));
  for (const auto& key : pictures.rows.keys) hash.update(key);
  report.hash = hash.hex();
}

}  // namespace

void declare_pictures(OptionTable& table, PictureOptions& options) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Pictures");
  };
  add("background", options.background, "colour under transparent pixels: #rrggbb, white, black or grey");
  add("max-megapixels", options.max_megapixels, "larger pictures are refused before they are decoded").range(0.001, 10000);
  add("broken-pictures", options.broken_pictures, "unreadable picture: refuse, or leave it out and name it").choices({"error", "skip"});
}

void declare_class_folders(OptionTable& table, DataOptions& options) {
  declare_split(table, options);
  declare_pictures(table, options.pictures);
  declare(table, options.pictures.augment);
}

Split prepare_pictures(const DataOptions& options, const PictureShape& shape, const ProgressSink& progress) {
  Split split;
  DataReport& report = split.report;
  Pictures pictures = read_folders(locate_class_folders(options.data), options, shape, progress, report);
  split_missing(pictures.rows, pictures.given, Task::single_label, options, report);
  find_repeats(pictures.rows, report);
  const std::vector<bool> dropped = mend_leakage(pictures.rows, options, report);
  size_t row = 0;
  std::erase_if(pictures.sources, [&](const auto&) { return static_cast<bool>(dropped[row++]); });
  split.labels = labels_of_training(pictures.rows, Task::single_label);
  finish(pictures, split.labels, report);
  split.train = dataset_of(pictures, Part::train, split.labels, shape);
  split.train.augment = options.pictures.augment;
  split.validation = dataset_of(pictures, Part::validation, split.labels, shape);
  split.test = dataset_of(pictures, Part::test, split.labels, shape);
  return split;
}

Evaluation prepare_picture_evaluation(const fs::path& folder, const DataOptions& options, const LabelSet& labels, const PictureShape& shape,
                                      const ProgressSink& progress) {
  require_folder(folder.string());
  Evaluation evaluation;
  const Pictures pictures = read_folders({{Part::test, folder}}, options, shape, progress, evaluation.report);
  find_repeats(pictures.rows, evaluation.report);
  finish(pictures, labels, evaluation.report);
  evaluation.dataset = dataset_of(pictures, Part::test, labels, shape);
  return evaluation;
}

PictureList list_pictures(const std::vector<std::string>& paths, const DataOptions& options, const PictureShape& shape,
                          const ProgressSink& progress) {
  PictureList list;
  std::vector<ImageSample> samples;
  for (const auto& path : paths) {
    if (fs::is_directory(path)) {
      ImageDataOptions folder = image_options(options, shape, path);
      folder.layout = "captions";
      folder.missing_captions = "empty";
      folder.orphans = "report";
      for (auto& sample : scan_folder(folder).samples) {
        sample.name = (fs::path(path) / sample.name).string();
        samples.push_back(std::move(sample));
      }
      continue;
    }
    check(fs::exists(path), ErrorKind::io, path, "expected a picture or a folder of pictures, got no such file");
    samples.push_back({.path = path, .name = path});
  }
  check(!samples.empty(), ErrorKind::invalid_argument, "pictures", "expected a picture or a folder of pictures, got none");
  const ImageDataOptions how = image_options(options, shape, "pictures");
  const auto set = std::make_shared<ImageSet>(read_samples(std::move(samples), how, progress));
  list.dataset.task = Task::regression;  // no labels, whatever the head
  std::vector<int64_t> entries;
  for (int64_t i = 0; i < set->size(); ++i) {
    list.names.push_back(set->entries[static_cast<size_t>(i)].sample.name);
    list.dataset.examples.push_back({.id = i, .picture_tokens = shape.tokens});
    entries.push_back(i);
  }
  list.dataset.pictures = std::make_shared<PictureRows>(set, how, std::move(entries), kKeepBytes);
  return list;
}

}  // namespace lowrank::data
