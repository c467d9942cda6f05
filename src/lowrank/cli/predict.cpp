// lowrank predict: a label, its scores and the logits for each line of text, or each picture.
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <algorithm>
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/run_options.h"
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

/// What is predicted on, and a JSON line a row that says what that is: {"text"}, {"text", "text_pair"} or {"file"}.
struct Items {
  data::Dataset dataset;
  std::vector<Json> lines;
};

Items read_items(const Session& session, const std::vector<std::string>& paths, const data::DataOptions& options) {
  Items items;
  if (session.pictures) {
    data::PictureList list = data::list_pictures(paths, options, *session.pictures);
    for (const auto& name : list.names) items.lines.push_back({{"file", name}});
    items.dataset = std::move(list.dataset);
    return items;
  }
  check(paths.size() <= 1, ErrorKind::invalid_argument, "predict", "expected one file of texts, got {}", paths.size());
  Texts texts = read_texts(paths.empty() ? "" : paths.front(), *session.tokenizer);
  for (const auto& row : texts.rows) {
    Json line = {{"text", row.text}};
    if (!row.text_pair.empty()) line["text_pair"] = row.text_pair;
    items.lines.push_back(std::move(line));
  }
  items.dataset = std::move(texts.dataset);
  return items;
}

/// Adds "label", "scores" and "logits"; label is a list for multi_label and a number for regression.
Json record(Json line, const models::HeadOptions& head, const std::vector<float>& logits, const std::vector<float>& scores) {
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
  std::cout << fmt::format("{:<28} {}\n", text, line.at(line.contains("file") ? "file" : "text").get<std::string>());
}

int run(const SessionOptions& options, data::DataOptions& data, const std::vector<std::string>& paths, bool json) {
  Session session = open_session(options, Need::head);
  data.threads = options.threads;
  const Items items = read_items(session, paths, data);
  ProgressLine line;
  evaluate::ForwardOptions forward;
  forward.progress = line.sink();
  forward.stop = &interrupt_token();
  const at::Tensor logits = evaluate::outputs_of(*session.model, items.dataset, forward);
  line.clear();
  const auto& head = session.model->head();
  const at::Tensor scores = head.kind == models::HeadKind::multi_label ? at::sigmoid(logits) : at::softmax(logits, 1);
  for (size_t i = 0; i < items.lines.size(); ++i) {
    const auto at_row = static_cast<int64_t>(i);
    const Json one = record(items.lines[i], head, row_of(logits, at_row), row_of(scores, at_row));
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
    data::DataOptions data;
    OptionTable table, pictures;
    std::vector<std::string> paths;
  };
  auto state = std::make_shared<State>();
  auto command = std::make_shared<Command>(app, "predict", "labels and scores for lines of text or JSONL, or for pictures",
                                           "lowrank predict --model MODEL --adapter run/adapter --json texts.txt\n"
                                           "  echo 'fast text editor' | lowrank predict --model MODEL --adapter run/adapter\n"
                                           "  lowrank predict --model VIT --adapter run/adapter --json rose.jpg pictures/");
  declare(state->table, state->options);
  data::declare_pictures(state->pictures, state->data.pictures);
  command->describe(state->table);
  command->describe(state->pictures);
  command->positional("path", state->paths, "lines of text or JSONL (standard input when absent); pictures and folders of them");
  command->on_run([command, state] {
    command->apply(state->table);
    require_model_folder(state->options.model);
    const bool pictures = picture_shape(state->options.model).has_value();
    if (pictures) command->apply(state->pictures);
    command->finish(pictures ? "a model of pictures" : "a model of texts");
    return run(state->options, state->data, state->paths, command->json());
  });
}

}  // namespace lowrank::cli
