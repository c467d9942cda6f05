#include "lowrank/study/study_record.h"

#include <algorithm>
#include <cmath>

#include "lowrank/base/file.h"
#include "lowrank/base/hash.h"
#include "lowrank/study/json_fields.h"

namespace lowrank::study {

namespace {

constexpr int64_t kFormat = 2;

template <class E>
E parse_name(const std::string& text, std::initializer_list<E> values, std::string_view where) {
  std::vector<std::string> names;
  for (const E value : values) {
    names.emplace_back(to_string(value));
    if (names.back() == text) return value;
  }
  fail(ErrorKind::file_format, where, fmt::format("expected one of {}, got '{}'", fmt::join(names, ", "), text));
}

// One list of members for both directions: they cannot drift apart.
template <class Fields, class R>
void visit_run(Fields& fields, R& run) {
  fields("method", run.method);
  fields("learning_rate", run.learning_rate);
  fields("seed", run.seed);
  fields("error", run.error);
  fields("best_step", run.best_step);
  fields("predicted", run.predicted);
  fields("item_scores", run.item_scores);
  fields("test_score", run.test_score);
  fields("distances", run.distances);
  fields("macro_f1", run.macro_f1);
  fields("seconds", run.seconds);
  fields("units", run.units);
  fields("peak_bytes", run.peak_bytes);
  fields("trainable_parameters", run.trainable_parameters);
  fields("adapter_bytes", run.adapter_bytes);
  fields("rank_agreement", run.forgetting.rank_agreement);
  fields("similarity_shift", run.forgetting.similarity_shift);
  fields("under", run.under);
  fields("options_hash", run.options_hash);
}

template <class Fields, class P>
void visit_point(Fields& fields, P& point) {
  fields("step", point.step);
  fields("epoch", point.epoch);
  fields("seconds", point.seconds);
  fields("train_loss", point.train_loss);
  fields("validation_loss", point.validation_loss);
  fields("validation_score", point.validation_score);
}

template <class Fields, class M>
void visit_measure(Fields& fields, M& measure) {
  fields("name", measure.name);
  fields("title", measure.title);
  fields("explanation", measure.explanation);
  fields("of", measure.of);
  fields("base", measure.base);
  fields("base_again", measure.base_again);
  fields("best", measure.best);
}

template <class Fields, class S>
void visit_sheet(Fields& fields, S& sheet) {
  fields("name", sheet.name);
  fields("title", sheet.title);
  fields("captions", sheet.captions);
}

template <class T, class Visit>
Json list_json(const std::vector<T>& values, Visit&& visit) {
  Json list = Json::array();
  for (const T& value : values) {
    FieldWriter writer(list.emplace_back(Json::object()));
    visit(writer, value);
  }
  return list;
}

template <class T, class Visit>
void read_list(const Json& list, std::string_view where, std::vector<T>& values, Visit&& visit) {
  for (const Json& value : list) {
    FieldReader reader(value, where);
    visit(reader, values.emplace_back());
    reader.finish();
  }
}

constexpr auto kPoint = [](auto& fields, auto& point) { visit_point(fields, point); };
constexpr auto kMeasure = [](auto& fields, auto& measure) { visit_measure(fields, measure); };
constexpr auto kSheet = [](auto& fields, auto& sheet) { visit_sheet(fields, sheet); };

template <class Fields, class S>
void visit_study(Fields& fields, S& study) {
  fields("title", study.title);
  fields("command", study.command);
  fields("model", study.model);
  fields("data_hash", study.data_hash);
  fields("score_name", study.score_name);
  fields("unit", study.unit);
  fields("reference", study.reference);
  fields("methods", study.methods);
  fields("titles", study.titles);
  fields("label_names", study.label_names);
  fields("test_labels", study.test_labels);
  fields("majority_label", study.majority_label);
  fields("data_report", study.data_report);
  fields("options", study.options);
  fields("machine", study.machine);
  fields("versions", study.versions);
}

void verify_format(int64_t format, std::string_view where) {
  if (format == kFormat) return;
  fail(ErrorKind::file_format, where, fmt::format("expected study format {}, got {}", kFormat, format),
       "it was written by another version; start the comparison in a new folder");
}

void verify_run(const Run& run, const Study& study, const std::string& where) {
  check(std::find(study.methods.begin(), study.methods.end(), run.method) != study.methods.end(), ErrorKind::file_format, where,
        "expected one of the study's methods ({}), got '{}'", fmt::join(study.methods, ", "), run.method);
  if (!run.tested()) return;
  for (const Measure& measure : study.measures) {
    const auto found = run.distances.find(measure.name);
    const size_t items = found == run.distances.end() ? 0 : found->second.size();
    check(items == measure.base.size(), ErrorKind::file_format, where, "expected the {} of each of {} items, got {}", measure.title,
          measure.base.size(), items);
  }
  if (study.test_labels.empty()) return;
  check(run.item_scores.size() == study.test_labels.size(), ErrorKind::file_format, where,
        "expected a score for each of the {} test items, got {}", study.test_labels.size(), run.item_scores.size());
}

}  // namespace

std::string_view to_string(RunPhase phase) { return phase == RunPhase::search ? "search" : "final"; }

std::string_view to_string(RunStatus status) {
  return status == RunStatus::ok ? "ok" : status == RunStatus::failed ? "failed" : "interrupted";
}

std::string run_name(const Run& run) {
  std::string method = run.method;
  for (char& letter : method) {
    const bool plain = std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '-' || letter == '_' || letter == '.';
    if (!plain) letter = '_';
  }
  if (method != run.method) method += "_" + sha256_hex(run.method).substr(0, 8);
  return fmt::format("{}-{}-lr{}-seed{}", to_string(run.phase), method, run.learning_rate, run.seed);
}

std::string title_of(const Study& study, const std::string& method) {
  if (const auto found = study.titles.find(method); found != study.titles.end()) return found->second;
  return method == "none" ? "linear probe" : method == "full" ? "full fine-tuning" : method;
}

void score_predictions(Run& run, const std::vector<int32_t>& labels) {
  check(run.predicted.size() == labels.size() && !labels.empty(), ErrorKind::invalid_argument, "test score",
        "expected one prediction for each of {} labels, got {}", labels.size(), run.predicted.size());
  struct Count {
    double right = 0, wrong = 0, present = 0;  // wrong: false positives and false negatives together
  };
  const int32_t highest =
      std::max(*std::max_element(labels.begin(), labels.end()), *std::max_element(run.predicted.begin(), run.predicted.end()));
  std::vector<Count> counts(static_cast<size_t>(highest) + 1);
  run.item_scores.clear();
  double right = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    Count &truth = counts.at(static_cast<size_t>(labels[i])), &guess = counts.at(static_cast<size_t>(run.predicted[i]));
    const bool hit = labels[i] == run.predicted[i];
    run.item_scores.push_back(hit ? 1 : 0);
    right += hit;
    truth.present += 1;
    truth.right += hit;
    truth.wrong += !hit;
    guess.wrong += !hit;
  }
  run.test_score = right / static_cast<double>(labels.size());
  double sum = 0, present = 0;
  for (const Count& count : counts) {
    if (count.present == 0) continue;
    sum += 2 * count.right / (2 * count.right + count.wrong);
    present += 1;
  }
  run.macro_f1 = sum / present;
}

Json to_json(const Run& run) {
  Json json = {{"format", kFormat}, {"phase", to_string(run.phase)}, {"status", to_string(run.status)}};
  FieldWriter writer(json);
  visit_run(writer, run);
  json["curve"] = list_json(run.curve, kPoint);
  return json;
}

Run run_from_json(const Json& json, std::string_view where) {
  Run run;
  int64_t format = 0;
  std::string phase, status;
  Json curve;
  FieldReader reader(json, where);
  reader("format", format);
  verify_format(format, where);
  reader("phase", phase);
  reader("status", status);
  reader("curve", curve);
  visit_run(reader, run);
  reader.finish();
  run.phase = parse_name(phase, {RunPhase::search, RunPhase::final}, where);
  run.status = parse_name(status, {RunStatus::ok, RunStatus::failed, RunStatus::interrupted}, where);
  read_list(curve, where, run.curve, kPoint);
  return run;
}

Json to_json(const Study& study) {
  Json json = {{"format", kFormat}};
  FieldWriter writer(json);
  visit_study(writer, study);
  json["measures"] = list_json(study.measures, kMeasure);
  json["sheets"] = list_json(study.sheets, kSheet);
  return json;
}

Study study_from_json(const Json& json, std::string_view where) {
  Study study;
  int64_t format = 0;
  FieldReader reader(json, where);
  reader("format", format);
  verify_format(format, where);
  visit_study(reader, study);
  Json measures, sheets;
  reader("measures", measures);
  reader("sheets", sheets);
  reader.finish();
  read_list(measures, where, study.measures, kMeasure);
  read_list(sheets, where, study.sheets, kSheet);
  return study;
}

void save_study(const std::filesystem::path& folder, const Study& study) {
  std::filesystem::create_directories(folder);
  write_file_atomic(folder / "study.json", format_json(to_json(study)));
}

void save_run(const std::filesystem::path& folder, const Run& run) {
  std::filesystem::create_directories(folder / "runs");
  write_file_atomic(folder / "runs" / (run_name(run) + ".json"), format_json_line(to_json(run)));
}

Study load_study(const std::filesystem::path& folder) {
  Study study = study_from_json(read_json(folder / "study.json"), (folder / "study.json").string());
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(folder / "runs")) {
    for (const auto& entry : std::filesystem::directory_iterator(folder / "runs")) {
      if (entry.path().extension() == ".json") files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    study.runs.push_back(run_from_json(read_json(file), file.string()));
    verify_run(study.runs.back(), study, file.string());
  }
  return study;
}

const Run* find_run(const Study& study, const Run& key) {
  for (const Run& run : study.runs) {
    if (run.method == key.method && run.learning_rate == key.learning_rate && run.seed == key.seed && run.phase == key.phase) {
      return &run;
    }
  }
  return nullptr;
}

}  // namespace lowrank::study
