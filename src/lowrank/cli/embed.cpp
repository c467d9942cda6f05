// lowrank embed: a sentence vector for each line of text.
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/session.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/cli/texts.h"
#include "lowrank/evaluate/forward.h"

namespace lowrank::cli {

namespace {

struct EmbedOptions {
  SessionOptions session;
  std::string pooling = "auto";
  std::string normalise = "auto";
};

void declare(OptionTable& table, EmbedOptions& options) {
  declare(table, options.session);
  table.add("pooling", options.pooling, "how token states become one vector; auto: as the model folder says")
      .choices({"auto", "mean", "cls"});
  table.add("normalise", options.normalise, "scale vectors to unit length; auto: as the model folder says").choices({"auto", "yes", "no"});
}

void print(const data::Row& row, const float* values, int64_t width, bool json) {
  const std::vector<float> vector(values, values + width);
  if (json) {
    std::cout << format_json_line({{"text", row.text}, {"embedding", vector}});
  } else {
    std::cout << fmt::format("{:.6g}\n", fmt::join(vector, "\t"));
  }
}

int run(const EmbedOptions& options, const std::string& file, bool json) {
  Session session = open_session(options.session, Need::embeddings);
  models::TextModel& model = session.text_model("embed");
  auto [pooling, normalise] = models::stored_pooling(options.session.model);
  if (options.pooling != "auto") pooling = options.pooling == "cls" ? models::Pooling::cls : models::Pooling::mean;
  if (options.normalise != "auto") normalise = options.normalise == "yes";
  const Texts texts = read_texts(file, *session.tokenizer);
  ProgressLine line;
  evaluate::ForwardOptions forward;
  forward.progress = line.sink();
  forward.stop = &interrupt_token();
  const at::Tensor vectors = evaluate::embeddings_of(model, texts.dataset, pooling, normalise, forward);
  line.clear();
  const int64_t width = vectors.size(1);
  for (size_t i = 0; i < texts.rows.size(); ++i) {
    print(texts.rows[i], vectors.const_data_ptr<float>() + static_cast<int64_t>(i) * width, width, json);
  }
  return 0;
}

}  // namespace

void add_embed(CLI::App& app) {
  struct State {
    EmbedOptions options;
    OptionTable table;
    std::string file;
  };
  auto state = std::make_shared<State>();
  auto command =
      std::make_shared<Command>(app, "embed", "sentence vectors for lines of text or JSONL",
                                "lowrank embed --model MODEL --json texts.txt\n  echo 'a sentence' | lowrank embed --model MODEL --json");
  declare(state->table, state->options);
  command->describe(state->table);
  command->positional("file", state->file, "lines of text or JSONL; standard input when absent");
  command->on_run([command, state] {
    command->apply(state->table);
    command->finish("embed");
    return run(state->options, state->file, command->json());
  });
}

}  // namespace lowrank::cli
