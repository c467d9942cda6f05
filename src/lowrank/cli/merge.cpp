// lowrank merge: adapters folded into their model, as a folder or file that needs none.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <filesystem>
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/image_merge.h"
#include "lowrank/cli/session.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/nn/host.h"
#include "lowrank/tensor/random.h"

namespace lowrank::cli {

namespace {

struct MergeOptions {
  ImageModelOptions model;
  std::string out;
};

SessionOptions session_options(const ImageModelOptions& options) {
  check(options.adapters.size() == 1 && options.block_weights.empty(), ErrorKind::invalid_argument, "--adapter",
        "expected one adapter folder to merge into an encoder, without block weights, got {}", options.adapters.size());
  return {
      .model = options.model, .adapter = options.adapters[0], .device = options.device, .dtype = options.dtype, .threads = options.threads};
}

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

Json description(const SessionOptions& options, const Session& session) {
  Json json = {
      {"format", 1}, {"merged_from", {{"model", options.model}, {"adapter", options.adapter}}}, {"labels", session.model->head().labels}};
  if (session.tokenizer) json["max_length"] = session.tokenizer->max_length();
  return json;
}

Json merge_encoder(const ImageModelOptions& options, const std::string& out) {
  const SessionOptions chosen = session_options(options);
  Session session = open_session(chosen, Need::embeddings);
  const at::NoGradGuard no_grad;
  const at::Tensor before = probe_states(session);
  int64_t merged = 0;
  for (auto& [name, host] : nn::hosts_of(*session.model)) {
    host->merge();
    merged += host->is_merged();
  }
  const double moved = ((probe_states(session) - before).abs().max() / before.abs().max()).item<double>();
  check(moved < 1e-3, ErrorKind::internal, "merge", "the merged model's outputs differ by {:.1e} from the adapted model's", moved);
  std::filesystem::create_directories(std::filesystem::absolute(out).parent_path());
  AtomicFolder folder(out);
  models::save_model(folder.path(), *session.model, chosen.model);
  write_file_atomic(folder.path() / "lowrank.json", format_json(description(chosen, session)));
  folder.commit();
  return {{"saved", out}, {"merged_layers", merged}, {"relative_difference", moved}};
}

int run(const MergeOptions& options, bool json) {
  const bool image = is_image_model(options.model.model);
  check(image || !options.model.adapters.empty(), ErrorKind::invalid_argument, "--adapter", "expected an adapter to merge, got none");
  check(!options.out.empty(), ErrorKind::invalid_argument, "--out", "expected a folder or file for the merged model, got none");
  check(!std::filesystem::exists(options.out), ErrorKind::invalid_argument, options.out, "expected a path that does not exist yet");
  const Json result = image ? merge_image_model(options.model, options.out) : merge_encoder(options.model, options.out);
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
  auto command = std::make_shared<Command>(
      app, "merge", "fold an adapter into its model",
      "lowrank merge --model MODEL --adapter run/adapter --out merged\n"
      "  lowrank merge --model sd15 --adapter a.safetensors:0.8 --adapter b.safetensors --out m.safetensors\n"
      "  lowrank merge --model sd15 --dtype float16 --out small.safetensors    # no adapter: another form or dtype");
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
