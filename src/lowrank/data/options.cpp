#include "lowrank/data/options.h"

#include <algorithm>
#include <set>

#include "lowrank/base/error.h"

namespace lowrank::data {

namespace {

namespace fs = std::filesystem;

const std::set<std::string> kEndings = {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".tab"};

/// The one data file in `folder` whose stem is among `stems`, or "".
fs::path find_part(const fs::path& folder, const std::vector<std::string>& stems) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto& path = entry.path();
    const bool named = std::find(stems.begin(), stems.end(), path.stem().string()) != stems.end();
    if (named && kEndings.contains(path.extension().string())) found.push_back(path.filename());
  }
  if (found.empty()) return {};
  std::sort(found.begin(), found.end());
  check(found.size() == 1, ErrorKind::invalid_argument, folder.string(), "expected one {} file, got {} and {} (name it with --{}-file)",
        stems.front(), found[0].string(), found.back().string(), stems.front());
  return folder / found.front();
}

std::vector<DataFile> locate_in_folder(const fs::path& folder) {
  std::vector<DataFile> files = {{Part::train, find_part(folder, {"train"})},
                                 {Part::validation, find_part(folder, {"validation", "valid", "val", "dev"})},
                                 {Part::test, find_part(folder, {"test"})}};
  check(!files.front().path.empty(), ErrorKind::invalid_argument, folder.string(),
        "expected train.jsonl, train.csv or train.tsv in this folder, got none");
  return files;
}

}  // namespace

void declare_split(OptionTable& table, DataOptions& options) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Data");
  };
  add("data", options.data,
      "labelled text: a file (JSON lines, CSV, TSV) or a folder with train.*, validation.*, test.*; labelled pictures: a folder of class "
      "folders, or one with train, validation, test of those");
  add("validation-fraction", options.validation_fraction, "share split off for validation when none is given").range(0, 0.9);
  add("test-fraction", options.test_fraction, "share split off for testing when none is given").range(0, 0.9);
  add("split-seed", options.split_seed, "which rows are split off").range(0, 9007199254740992.0);
  add("leakage", options.leakage,
      "text or picture that is in two of train, validation and test: refuse, drop it from training, or allow it")
      .choices({"error", "drop", "allow"});
}

void declare(OptionTable& table, DataOptions& options) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Data");
  };
  declare_split(table, options);
  add("train-file", options.train_file, "training rows, instead of --data");
  add("validation-file", options.validation_file, "validation rows; else split off the training rows");
  add("test-file", options.test_file, "test rows; else split off the training rows");
  add("format", options.format, "what the files are; auto goes by their ending").choices({"auto", "jsonl", "csv", "tsv"});
  add("text-column", options.text_column, "column with the text; found by its usual names when not given");
  add("text-pair-column", options.text_pair_column, "column with the second text, for pairs");
  add("label-column", options.label_column, "column with the label; found by its usual names when not given");
  add("label-separator", options.label_separator, "splits a cell into several labels, such as '|'");
  add("task", options.task, "what to learn; auto looks at the labels")
      .choices({"auto", "single_label", "multi_label", "regression", "embedding"});
  add("max-length", options.max_length, "tokens of a text, special tokens included; longer texts are cut").range(4, 1 << 20);
}

TableOptions table_options(const DataOptions& options) {
  return {options.format,       options.text_column,     options.text_pair_column,
          options.label_column, options.label_separator, options.task != "embedding"};
}

std::vector<DataFile> locate_files(const DataOptions& options) {
  check(options.data.empty() != options.train_file.empty(), ErrorKind::invalid_argument, "data",
        "expected either --data or --train-file, got {}", options.data.empty() ? "neither" : "both");
  std::vector<DataFile> files = {{Part::train, options.train_file}, {Part::validation, {}}, {Part::test, {}}};
  if (fs::is_directory(options.data)) {
    files = locate_in_folder(options.data);
  } else if (!options.data.empty()) {
    files.front().path = options.data;
  }
  if (!options.validation_file.empty()) files[1].path = options.validation_file;
  if (!options.test_file.empty()) files[2].path = options.test_file;
  std::erase_if(files, [](const DataFile& file) { return file.path.empty(); });
  for (const auto& file : files) {
    if (!fs::exists(file.path)) {
      fail(ErrorKind::io, "data", fmt::format("no such file: {}", file.path.string()),
           "--data takes a file, or a folder with train.*, validation.*, test.*");
    }
  }
  return files;
}

}  // namespace lowrank::data
