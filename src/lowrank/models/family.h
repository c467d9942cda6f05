// A family: how config.json of one model_type becomes a model. One file and one line of models.def each.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/models/model.h"

namespace lowrank::models {

struct Family {
  std::string_view model_type;                // of config.json: "bert"
  std::string_view prefix;                    // of the encoder's parameters in a model with a head: "bert."
  std::vector<std::string_view> other_heads;  // name prefixes of heads of other tasks, which are left unread: "cls."
  /// {in a file, here}: parts of names that transformers itself renames while it loads, replaced in this order; none for most.
  /// Files may hold either; what is saved has the file's.
  std::vector<std::pair<std::string_view, std::string_view>> renamed;
  /// A model with zero weights, named as the checkpoint's class names them. A bare encoder gets a pooler when
  /// `stored_pooler`. `where` names config.json in errors: Error{file_format} for missing keys, Error{unsupported} for
  /// values that are not honoured.
  std::unique_ptr<Model> (*make)(const Json& config, const std::string& where, const HeadOptions& head, bool stored_pooler);

  /// What a picture must be; null for a family of texts.
  PictureInput (*picture_input)(const Json& config, const std::string& where) = nullptr;

  std::string name_here(std::string name) const;
  std::string name_in_file(std::string name) const;
};

std::span<const Family* const> families();

/// Throws Error{unsupported} with near misses and the supported names.
const Family& family_of(const Json& config, const std::string& where);

}  // namespace lowrank::models
