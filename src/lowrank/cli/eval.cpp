// lowrank eval: scores of a trained model on a labelled file.
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/session.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/data/dataset.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/evaluate/scores.h"

namespace lowrank::cli {

namespace {

struct EvalOptions {
  SessionOptions session;
  data::DataOptions data;
};

int run(EvalOptions& options, bool json) {
  Session session = open_session(options.session, Need::head);
  options.data.max_length = session.tokenizer.max_length();
  ProgressLine line;
  const data::Evaluation evaluation =
      data::prepare_evaluation(options.data.data, options.data, session.task(), session.labels(), session.tokenizer, line.sink());
  const at::Tensor outputs =
      evaluate::outputs_of(*session.model, evaluation.dataset, {.progress = line.sink(), .stop = &interrupt_token()});
  line.clear();
  const evaluate::Scores scores = evaluate::score(evaluation.dataset, outputs);
  if (json) {
    Json result = {{"rows", evaluation.dataset.size()}, {"loss", scores.loss}, {"data_hash", evaluation.report.hash}};
    for (const auto& [name, value] : scores.all) result[name] = value;
    std::cout << format_json(result);
    return 0;
  }
  std::cout << fmt::format("{} rows, loss {:.4f}\n", count_text(evaluation.dataset.size()), scores.loss);
  for (const auto& [name, value] : scores.all) std::cout << fmt::format("  {:<20}{:.4f}\n", name, value);
  return 0;
}

}  // namespace

void add_eval(CLI::App& app) {
  struct State {
    EvalOptions options;
    OptionTable table;
  };
  auto state = std::make_shared<State>();
  auto command = std::make_shared<Command>(app, "eval", "scores of a trained model on a labelled file",
                                           "lowrank eval --model MODEL --adapter run/adapter --data test.csv");
  declare(state->table, state->options.session);
  state->table.add("data", state->options.data.data, "file of labelled text (JSON lines, CSV, TSV)").group("Data");
  state->table.add("format", state->options.data.format, "what the file is; auto goes by its ending")
      .choices({"auto", "jsonl", "csv", "tsv"})
      .group("Data");
  state->table.add("text-column", state->options.data.text_column, "column with the text").group("Data");
  state->table.add("text-pair-column", state->options.data.text_pair_column, "column with the second text, for pairs").group("Data");
  state->table.add("label-column", state->options.data.label_column, "column with the label").group("Data");
  state->table.add("label-separator", state->options.data.label_separator, "splits a cell into several labels").group("Data");
  command->describe(state->table);
  command->on_run([command, state] {
    command->apply(state->table);
    command->finish("eval");
    check(!state->options.data.data.empty(), ErrorKind::invalid_argument, "--data", "expected a file of labelled text, got none");
    return run(state->options, command->json());
  });
}

}  // namespace lowrank::cli
