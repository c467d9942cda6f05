// lowrank merge: adapters folded into their model, as a folder or file that needs none.
#include <ATen/core/grad_mode.h>
#include <filesystem>
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/image_merge.h"
#include "lowrank/cli/session.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/nn/host.h"

namespace lowrank::cli {

namespace {

struct MergeOptions {
  ImageModelOptions model;
  std::string out;
};

SessionOptions session_options(const ImageModelOptions& options) {
  check(options.adapters.size() == 1 && options.block_weights.empty(), ErrorKind::invalid_argument, "--adapter",
        "expected one adapter folder to merge into a language model, without block weights, got {}", options.adapters.size());
  return {
      .model = options.model, .adapter = options.adapters[0], .device = options.device, .dtype = options.dtype, .threads = options.threads};
}

/// Largest difference of the outputs on a probe text before and after, relative to the largest output.
double difference(Session& session, const at::Tensor& before, const nn::Packed& probe) {
  const at::Tensor after = session.model->encode(probe);
  return ((after - before).abs().max() / before.abs().max()).item<double>();
}

Json merge_text_model(const ImageModelOptions& options, const std::string& out) {
  const SessionOptions chosen = session_options(options);
  Session session = open_session(chosen, Need::embeddings);
  const at::NoGradGuard no_grad;
  const auto ids = session.tokenizer.encode("A probe of what the model computes, before and after.").ids;
  const nn::Packed probe = nn::pack({{ids.begin(), ids.end()}});
  const at::Tensor before = session.model->encode(probe);
  int64_t merged = 0;
  for (auto& [name, host] : nn::hosts_of(*session.model)) {
    host->merge();
    merged += host->is_merged();
  }
  const double moved = difference(session, before, probe);
  check(moved < 1e-3, ErrorKind::internal, "merge", "the merged model's outputs differ by {:.1e} from the adapted model's", moved);
  std::filesystem::create_directories(std::filesystem::absolute(out).parent_path());
  AtomicFolder folder(out);
  models::save_model(folder.path(), *session.model, chosen.model);
  write_file_atomic(folder.path() / "lowrank.json", format_json({{"format", 1},
                                                                 {"merged_from", {{"model", chosen.model}, {"adapter", chosen.adapter}}},
                                                                 {"max_length", session.tokenizer.max_length()},
                                                                 {"labels", session.model->head().labels}}));
  folder.commit();
  return {{"saved", out}, {"merged_layers", merged}, {"relative_difference", moved}};
}

int run(const MergeOptions& options, bool json) {
  check(!options.model.adapters.empty(), ErrorKind::invalid_argument, "--adapter", "expected an adapter to merge, got none");
  check(!options.out.empty(), ErrorKind::invalid_argument, "--out", "expected a folder or file for the merged model, got none");
  check(!std::filesystem::exists(options.out), ErrorKind::invalid_argument, options.out, "expected a path that does not exist yet");
  const bool image = is_image_model(options.model.model);
  const Json result = image ? merge_image_model(options.model, options.out) : merge_text_model(options.model, options.out);
  if (json) {
    std::cout << format_json(result);
    return 0;
  }
  for (const auto& one : result.value("adapters", Json::array()))
    std::cout << fmt::format("adapter {} ({}): {} layers, weight {:g}\n", one["file"].get<std::string>(), one["dialect"].get<std::string>(),
                             one["layers"].get<int64_t>(), one["weight"].get<double>());
  std::cout << fmt::format("merged {} layers; outputs on a probe differ by {:.1e}\nsaved {}\n", result["merged_layers"].get<int64_t>(),
                           result["relative_difference"].get<double>(), options.out);
  return 0;
}

}  // namespace

void add_merge(CLI::App& app) {
  struct State {
    MergeOptions options;
    OptionTable table;
  };
  auto state = std::make_shared<State>();
  auto command =
      std::make_shared<Command>(app, "merge", "fold an adapter into its model",
                                "lowrank merge --model MODEL --adapter run/adapter --out merged\n"
                                "  lowrank merge --model sd15 --adapter a.safetensors:0.8 --adapter b.safetensors --out m.safetensors");
  declare(state->table, state->options.model);
  state->table.add("out", state->options.out, "folder for the merged model, or for an image model a .safetensors file; must not exist")
      .group("Model");
  command->describe(state->table);
  command->on_run([command, state] {
    command->apply(state->table);
    command->finish("merge");
    return run(state->options, command->json());
  });
}

}  // namespace lowrank::cli
