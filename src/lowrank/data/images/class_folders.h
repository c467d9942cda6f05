// Pictures in class folders as a data set: a picture's first folder is its label.
//   DIR/<class>/…                                  split by us, stratified, equal files on one side
//   DIR/train/<class>/…, DIR/validation/…, DIR/test/…   as given; a part without a folder is split off the training pictures
#pragma once

#include <filesystem>
#include <memory>

#include "lowrank/base/progress.h"
#include "lowrank/data/dataset.h"
#include "lowrank/data/images/picture_rows.h"

namespace lowrank::data {

/// What a model takes.
struct PictureShape {
  Size size;
  int64_t tokens = 1;  // that it makes of a picture
};

/// Adds the groups "Data", "Pictures" and "Augmentation" for class folders to `table`, bound to `options`.
void declare_class_folders(OptionTable& table, DataOptions& options);
/// Of these, those about pictures alone.
void declare_pictures(OptionTable& table, PictureOptions& options);

/// Reads, splits, checks and scales: every picture is scaled to cover the shape and cut to it. Throws what read_image_set,
/// split_rows and check_labels throw, and Error{invalid_argument} when equal pictures are in two parts and options.leakage is "error".
Split prepare_pictures(const DataOptions& options, const PictureShape& shape, const ProgressSink& progress = {});

/// One folder of class folders for a model that already has its labels: pictures in order of their names, as the test part.
Evaluation prepare_picture_evaluation(const std::filesystem::path& folder, const DataOptions& options, const LabelSet& labels,
                                      const PictureShape& shape, const ProgressSink& progress = {});

/// Pictures without labels, in the order given: files, and folders of files at any depth, sorted by name.
/// Throws Error{invalid_argument} for a path that is neither, and what read_image_set throws.
struct PictureList {
  std::vector<std::string> names;  // paths as given, with what is below a folder behind it
  Dataset dataset;
};
PictureList list_pictures(const std::vector<std::string>& paths, const DataOptions& options, const PictureShape& shape,
                          const ProgressSink& progress = {});

}  // namespace lowrank::data
