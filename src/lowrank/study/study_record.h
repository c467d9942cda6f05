// What a comparison leaves behind: one record a run (a method trained once, at one learning rate, with one seed) and one for the study.
//
// On disk a study is a folder: study.json (everything but the runs) and runs/<name>.json, each written atomically when its run ends.
// A run's file is there or not, so an interrupted study goes on by skipping the runs whose file says "ok".
// Reading is strict: a missing or unknown key, a wrong type, or lengths that disagree is an Error{file_format}.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "lowrank/base/json.h"

namespace lowrank::study {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();  // null in the files

enum class RunPhase { search, final };  // learning-rate search on validation; the runs that are tested
enum class RunStatus { ok, failed, interrupted };

/// One validation during training.
struct CurvePoint {
  int64_t step = 0;
  double epoch = 0, seconds = 0;  // seconds of training so far
  double train_loss = kUnknown, validation_loss = kUnknown, validation_score = kUnknown;
};

/// Change of the model's original use, sentence similarity, on a fixed sample of sentence pairs before and after adaptation.
struct Forgetting {
  double rank_agreement = kUnknown;    // Spearman correlation of the similarities before and after; 1: nothing forgotten
  double similarity_shift = kUnknown;  // mean |cosine after - cosine before|; 0: nothing forgotten
};

/// How far pictures that a model draws are from what they should be; lower is better. `base` and `best` are the ends of its scale: the
/// model before adaptation, with the same captions and noise, and what no adapter can better, such as the autoencoder's own picture of the
/// true one.
struct Measure {
  std::string name;                // "feature"
  std::string title, explanation;  // "feature distance", and how it is taken, as a sentence
  std::string of = "test";         // or "forgetting": pictures that the base was made on; or "prompts" (prompts.h)
  std::vector<double> base, best;  // of each item
  std::vector<double> base_again;  // the base's with other noise; empty when it was not drawn again
};

/// Pictures to look at: a row a caption, a column a folder in pictures/ ("truth", "base", a run's name);
/// pictures/<column>/<name>-<row>.png.
struct Sheet {
  std::string name, title;
  std::vector<std::string> captions;
};

struct Run {
  std::string method;
  double learning_rate = 0;
  int64_t seed = 0;
  RunPhase phase = RunPhase::final;
  RunStatus status = RunStatus::ok;
  std::string error;  // why it failed or was interrupted
  std::vector<CurvePoint> curve;
  int64_t best_step = 0;                                 // whose weights were kept
  std::vector<int32_t> predicted;                        // label of each test item; empty unless tested
  std::vector<double> item_scores;                       // each test item's score: 1 right, 0 wrong
  double test_score = kUnknown;                          // mean of item_scores
  std::map<std::string, std::vector<double>> distances;  // by measure, of each of its items; empty without measures
  double macro_f1 = kUnknown;
  double seconds = 0;  // training alone
  int64_t units = 0;   // trained on (Study::unit)
  int64_t peak_bytes = 0, trainable_parameters = 0, adapter_bytes = 0;
  Forgetting forgetting;
  std::vector<std::pair<std::string, double>>
      under;                 // test score under each changed condition (evaluate/robustness.h); empty: not asked for
  std::string options_hash;  // of the resolved options: a run made with others is not taken over

  double units_per_second() const { return seconds > 0 ? static_cast<double>(units) / seconds : 0; }
  bool tested() const { return status == RunStatus::ok && phase == RunPhase::final && !item_scores.empty(); }
};

struct Study {
  std::string title;    // shown on top of the report
  std::string command;  // that reproduces it
  std::string model;
  std::string data_hash;
  std::string score_name = "accuracy";        // a share, 0 to 1, higher is better
  std::string unit = "tokens";                // what Run::units counts
  std::string reference = "lora";             // the method that differences are taken against
  std::vector<std::string> methods;           // in the order to show them; "none" is the linear probe, "full" trains every weight
  std::map<std::string, std::string> titles;  // how the report spells a method; absent: as it is
  std::vector<std::string> label_names;
  std::vector<int32_t> test_labels;  // true label of each test item
  int32_t majority_label = -1;       // most frequent in training; -1: no such baseline
  std::vector<Measure> measures;     // the first makes Run::item_scores (measures.h); empty for labels
  std::vector<Sheet> sheets;
  Json data_report = Json::object();  // shown as it is: text, numbers, nested objects, lists
  Json options = Json::object();      // resolved
  Json machine = Json::object();
  Json versions = Json::object();
  std::vector<Run> runs;
};

std::string_view to_string(RunPhase phase);
std::string_view to_string(RunStatus status);

/// "final-lora-lr0.0005-seed1": the file name of a run, also fit for logs. Unusual letters in the method become '_' plus a hash.
std::string run_name(const Run& run);

/// study.titles[method], or "linear probe", "full fine-tuning", or the method itself.
std::string title_of(const Study& study, const std::string& method);

/// Fills item_scores, test_score and macro_f1 from run.predicted. Macro F1 is the mean over labels that occur in `labels` of
/// 2 TP / (2 TP + FP + FN). Throws Error{invalid_argument} when the lengths differ.
void score_predictions(Run& run, const std::vector<int32_t>& labels);

Json to_json(const Run& run);
Run run_from_json(const Json& json, std::string_view where);

/// Without the runs.
Json to_json(const Study& study);
Study study_from_json(const Json& json, std::string_view where);

/// Writes folder/study.json.
void save_study(const std::filesystem::path& folder, const Study& study);
/// Writes folder/runs/<run_name>.json.
void save_run(const std::filesystem::path& folder, const Run& run);
/// study.json and every runs/*.json in order of name, checked against each other (known methods, as many items as test labels or as each
/// measure has).
Study load_study(const std::filesystem::path& folder);
/// The run with this method, rate, seed and phase, or nullptr.
const Run* find_run(const Study& study, const Run& key);

}  // namespace lowrank::study
