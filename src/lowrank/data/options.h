// What a user says about the data, and which files that means.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lowrank/base/options.h"
#include "lowrank/data/images/augment.h"
#include "lowrank/data/split.h"
#include "lowrank/data/table.h"

namespace lowrank::data {

/// Of class folders.
struct PictureOptions {
  std::string background = "white";
  double max_megapixels = 100;
  std::string broken_pictures = "error";  // error, skip
  AugmentOptions augment;
};

struct DataOptions {
  std::string data;  // a file, or a folder that holds train.*, validation.*, test.*
  std::string train_file, validation_file, test_file;
  std::string format = "auto", text_column, text_pair_column, label_column, label_separator;
  std::string task = "auto";
  double validation_fraction = 0.1, test_fraction = 0.1;
  int64_t split_seed = 42;
  int64_t max_length = 128;  // tokens of a sequence, special tokens included
  std::string leakage = "error";
  PictureOptions pictures;
  int64_t threads = 0;  // for tokenizing and for reading pictures; 0: one a processor. Not declared: the program has one --threads.
};

/// Adds the group "Data" for texts to `table`, bound to `options`.
void declare(OptionTable& table, DataOptions& options);
/// The part of it that class folders have too: data, how it is split, leakage.
void declare_split(OptionTable& table, DataOptions& options);

TableOptions table_options(const DataOptions& options);

struct DataFile {
  Part part;
  std::filesystem::path path;
};

/// The files, train first. A part without a file is later split off the training rows.
/// Throws Error{invalid_argument} when nothing or too much is named, a folder has no or two train files, or a file is
/// missing.
std::vector<DataFile> locate_files(const DataOptions& options);

}  // namespace lowrank::data
