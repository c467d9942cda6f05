// A model ready to be used: base folder, adapter folder if any, tokenizer or picture size, device.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lowrank/adapters/attach.h"
#include "lowrank/base/options.h"
#include "lowrank/data/images/class_folders.h"
#include "lowrank/models/text_model.h"
#include "lowrank/text/tokenizer.h"

namespace lowrank::cli {

struct SessionOptions {
  std::string model, adapter;
  std::string device = "auto", dtype = "auto";
  int64_t threads = 0, max_length = 0;
};

/// Adds the flags that name a model to use.
void declare(OptionTable& table, SessionOptions& options);

/// head: outputs of a trained head; embeddings: the encoder alone will do.
enum class Need { head, embeddings };

struct Session {
  std::unique_ptr<models::Model> model;
  std::optional<text::Tokenizer> tokenizer;    // of a model of texts
  std::optional<data::PictureShape> pictures;  // of a model of pictures
  std::optional<adapters::AdapterSet> adapters;

  data::Task task() const;
  data::LabelSet labels() const { return {model->head().labels}; }
  /// Error{invalid_argument} for a model of pictures; `where` names the verb.
  models::TextModel& text_model(const std::string& where) const;
};

/// Loads what the options name. The head is the adapter's own, else the model folder's; Error{invalid_argument} when one is
/// needed and neither has it.
Session open_session(const SessionOptions& options, Need need);

/// Loads and checks a folder that must exist; the hint says what a model folder is.
void require_model_folder(const std::string& model);

}  // namespace lowrank::cli
