// lowrank eval: scores of a trained model on labelled texts or pictures.
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/run_options.h"
#include "lowrank/cli/session.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/evaluate/changed_scores.h"
#include "lowrank/evaluate/scores.h"

namespace lowrank::cli {

namespace {

struct EvalOptions {
  SessionOptions session;
  data::DataOptions data;
  bool robustness = false;
};

void declare_texts(OptionTable& table, data::DataOptions& options) {
  table.add("format", options.format, "what the file is; auto goes by its ending").choices({"auto", "jsonl", "csv", "tsv"}).group("Data");
  table.add("text-column", options.text_column, "column with the text").group("Data");
  table.add("text-pair-column", options.text_pair_column, "column with the second text, for pairs").group("Data");
  table.add("label-column", options.label_column, "column with the label").group("Data");
  table.add("label-separator", options.label_separator, "splits a cell into several labels").group("Data");
}

data::Evaluation prepare(EvalOptions& options, Session& session, const ProgressSink& progress) {
  options.data.threads = options.session.threads;
  if (session.pictures) {
    return data::prepare_picture_evaluation(options.data.data, options.data, session.labels(), *session.pictures, progress);
  }
  options.data.max_length = session.tokenizer->max_length();
  return data::prepare_evaluation(options.data.data, options.data, session.task(), session.labels(), *session.tokenizer, progress);
}

int run(EvalOptions& options, bool json) {
  Session session = open_session(options.session, Need::head);
  ProgressLine line;
  const data::Evaluation evaluation = prepare(options, session, line.sink());
  const evaluate::ForwardOptions how{.progress = line.sink(), .stop = &interrupt_token()};
  const evaluate::Scores scores = evaluate::score(evaluation.dataset, evaluate::outputs_of(*session.model, evaluation.dataset, how));
  const auto changed = options.robustness ? evaluate::scores_under_change(*session.model, evaluation.dataset, how) : decltype(scores.all){};
  line.clear();
  if (json) {
    Json result = {{"rows", evaluation.dataset.size()}, {"loss", scores.loss}, {"data_hash", evaluation.report.hash}};
    for (const auto& [name, value] : scores.all) result[name] = value;
    for (const auto& [name, value] : changed) result["under"][name] = value;
    std::cout << format_json(result);
    return 0;
  }
  std::cout << fmt::format("{} rows, loss {:.4f}\n", count_text(evaluation.dataset.size()), scores.loss);
  for (const auto& [name, value] : scores.all) std::cout << fmt::format("  {:<20}{:.4f}\n", name, value);
  if (!changed.empty()) std::cout << fmt::format("{} under changed conditions\n", scores.name);
  for (const auto& [name, value] : changed) std::cout << fmt::format("  {:<20}{:.4f}\n", name, value);
  return 0;
}

}  // namespace

void add_eval(CLI::App& app) {
  struct State {
    EvalOptions options;
    OptionTable table, texts, pictures;
  };
  auto state = std::make_shared<State>();
  auto command = std::make_shared<Command>(app, "eval", "scores of a trained model on labelled texts or pictures",
                                           "lowrank eval --model MODEL --adapter run/adapter --data test.csv\n"
                                           "  lowrank eval --model VIT --adapter run/adapter --data flowers-test/");
  declare(state->table, state->options.session);
  state->table.add("data", state->options.data.data, "file of labelled text (JSON lines, CSV, TSV), or folder of class folders")
      .group("Data");
  declare_texts(state->texts, state->options.data);
  data::declare_pictures(state->pictures, state->options.data.pictures);
  state->pictures.add("robustness", state->options.robustness, "the score also under rotation, noise, blur, and changed light and colour")
      .group("Pictures");
  for (const auto* table : {&state->table, &state->texts, &state->pictures}) command->describe(*table);
  command->on_run([command, state] {
    command->apply(state->table);
    require_model_folder(state->options.session.model);
    const bool pictures = picture_shape(state->options.session.model).has_value();
    command->apply(pictures ? state->pictures : state->texts);
    command->finish(pictures ? "a model of pictures" : "a model of texts");
    check(!state->options.data.data.empty(), ErrorKind::invalid_argument, "--data", "expected {}, got none",
          pictures ? "a folder of class folders" : "a file of labelled text");
    return run(state->options, command->json());
  });
}

}  // namespace lowrank::cli
