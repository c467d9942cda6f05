// lowrank predict: a label, its scores and the logits for each line of text.
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <algorithm>
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/session.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/cli/texts.h"
#include "lowrank/evaluate/forward.h"

namespace lowrank::cli {

namespace {

std::vector<float> row_of(const at::Tensor& matrix, int64_t row) {
  const int64_t width = matrix.size(1);
  const float* values = matrix.const_data_ptr<float>() + row * width;
  return {values, values + width};
}

/// {"text", "label", "scores", "logits"}; label is a list for multi_label and a number for regression.
Json record(const data::Row& row, const models::HeadOptions& head, const std::vector<float>& logits, const std::vector<float>& scores) {
  Json line = {{"text", row.text}};
  if (!row.text_pair.empty()) line["text_pair"] = row.text_pair;
  if (head.kind == models::HeadKind::regression) {
    line["label"] = logits.at(0);
    line["scores"] = Json::object();
  } else {
    Json by_label = Json::object(), chosen = Json::array();
    for (size_t c = 0; c < scores.size(); ++c) {
      by_label[head.labels.at(c)] = scores[c];
      if (head.kind == models::HeadKind::multi_label && scores[c] > 0.5F) chosen.push_back(head.labels[c]);
    }
    const auto best = static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
    line["label"] = head.kind == models::HeadKind::multi_label ? chosen : Json(head.labels.at(best));
    line["scores"] = by_label;
  }
  line["logits"] = logits;
  return line;
}

void print_plain(const Json& line) {
  const Json& label = line.at("label");
  std::string text = label.is_string() ? label.get<std::string>() : label.dump();
  if (label.is_string()) text += fmt::format("  {:.0f} %", 100 * line.at("scores").at(text).get<double>());
  std::cout << fmt::format("{:<28} {}\n", text, line.at("text").get<std::string>());
}

int run(const SessionOptions& options, const std::string& file, bool json) {
  Session session = open_session(options, Need::head);
  const Texts texts = read_texts(file, session.tokenizer);
  ProgressLine line;
  evaluate::ForwardOptions forward;
  forward.progress = line.sink();
  forward.stop = &interrupt_token();
  const at::Tensor logits = evaluate::outputs_of(*session.model, texts.dataset, forward);
  line.clear();
  const auto& head = session.model->head();
  const at::Tensor scores = head.kind == models::HeadKind::multi_label ? at::sigmoid(logits) : at::softmax(logits, 1);
  for (size_t i = 0; i < texts.rows.size(); ++i) {
    const auto at_row = static_cast<int64_t>(i);
    const Json one = record(texts.rows[i], head, row_of(logits, at_row), row_of(scores, at_row));
    if (json) {
      std::cout << format_json_line(one);
    } else {
      print_plain(one);
    }
  }
  return 0;
}

}  // namespace

void add_predict(CLI::App& app) {
  struct State {
    SessionOptions options;
    OptionTable table;
    std::string file;
  };
  auto state = std::make_shared<State>();
  auto command = std::make_shared<Command>(app, "predict", "labels and scores for lines of text or JSONL",
                                           "lowrank predict --model MODEL --adapter run/adapter --json texts.txt\n"
                                           "  echo 'fast text editor' | lowrank predict --model MODEL --adapter run/adapter");
  declare(state->table, state->options);
  command->describe(state->table);
  command->positional("file", state->file, "lines of text or JSONL; standard input when absent");
  command->on_run([command, state] {
    command->apply(state->table);
    command->finish("predict");
    return run(state->options, state->file, command->json());
  });
}

}  // namespace lowrank::cli
