// lowrank merge: an adapter folded into its model, as a folder that needs no adapter.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <filesystem>
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/session.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/nn/host.h"
#include "lowrank/tensor/random.h"

namespace lowrank::cli {

namespace {

struct MergeOptions {
  SessionOptions session;
  std::string out;
};

/// The model's states on a probe: a sentence, or a picture of noise.
at::Tensor probe_states(const Session& session) {
  const auto device = evaluate::device_of(*session.model);
  if (session.pictures) {
    const data::Size size = session.pictures->size;
    at::Tensor pixels = at::empty({1, 3, size.height, size.width});
    tensor::fill_normal_(pixels, 0, 1, RandomStream(1, "probe picture"));
    return dynamic_cast<models::ImageModel&>(*session.model).encode({pixels.to(device), {}});
  }
  const auto ids = session.tokenizer->encode("A probe of what the model computes, before and after.").ids;
  return session.text_model("merge").encode(nn::pack({{ids.begin(), ids.end()}}));
}

Json description(const MergeOptions& options, const Session& session) {
  Json json = {{"format", 1},
               {"merged_from", {{"model", options.session.model}, {"adapter", options.session.adapter}}},
               {"labels", session.model->head().labels}};
  if (session.tokenizer) json["max_length"] = session.tokenizer->max_length();
  return json;
}

int run(const MergeOptions& options, bool json) {
  check(!options.session.adapter.empty(), ErrorKind::invalid_argument, "--adapter", "expected an adapter folder to merge, got none");
  check(!options.out.empty(), ErrorKind::invalid_argument, "--out", "expected a folder for the merged model, got none");
  check(!std::filesystem::exists(options.out), ErrorKind::invalid_argument, options.out, "expected a folder that does not exist yet");
  Session session = open_session(options.session, Need::embeddings);
  const at::NoGradGuard no_grad;
  const at::Tensor before = probe_states(session);
  int64_t merged = 0;
  for (auto& [name, host] : nn::hosts_of(*session.model)) {
    host->merge();
    merged += host->is_merged();
  }
  const double moved = ((probe_states(session) - before).abs().max() / before.abs().max()).item<double>();
  check(moved < 1e-3, ErrorKind::internal, "merge", "the merged model's outputs differ by {:.1e} from the adapted model's", moved);
  std::filesystem::create_directories(std::filesystem::absolute(options.out).parent_path());
  AtomicFolder folder(options.out);
  models::save_model(folder.path(), *session.model, options.session.model);
  write_file_atomic(folder.path() / "lowrank.json", format_json(description(options, session)));
  folder.commit();
  if (json) {
    std::cout << format_json({{"saved", options.out}, {"merged_layers", merged}, {"relative_difference", moved}});
  } else {
    std::cout << fmt::format("merged {} layers; outputs on a probe differ by {:.1e}\nsaved {}\n", merged, moved, options.out);
  }
  return 0;
}

}  // namespace

void add_merge(CLI::App& app) {
  struct State {
    MergeOptions options;
    OptionTable table;
  };
  auto state = std::make_shared<State>();
  auto command = std::make_shared<Command>(app, "merge", "fold an adapter into its model",
                                           "lowrank merge --model MODEL --adapter run/adapter --out merged");
  declare(state->table, state->options.session);
  state->table.add("out", state->options.out, "folder for the merged model; must not exist").group("Model");
  command->describe(state->table);
  command->on_run([command, state] {
    command->apply(state->table);
    command->finish("merge");
    return run(state->options, command->json());
  });
}

}  // namespace lowrank::cli
