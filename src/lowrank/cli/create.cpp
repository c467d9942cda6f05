// lowrank create: a model folder with new weights, to be trained with --method full.
#include <filesystem>
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/models/image_model.h"

namespace lowrank::cli {

namespace {

struct CreateOptions {
  std::string family = "vit", out;
  int64_t image_size = 64, patch_size = 8, width = 192, layers = 6, heads = 3, seed = 42;
};

void declare(OptionTable& table, CreateOptions& options) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Model");
  };
  add("family", options.family, "what kind of model").choices({"vit"});
  add("out", options.out, "folder for the model; must not exist");
  add("image-size", options.image_size, "side of the pictures that it takes, in pixels").range(8, 4096);
  add("patch-size", options.patch_size, "side of the patches that pictures are cut into").range(1, 1024);
  add("width", options.width, "of its states").range(8, 16384);
  add("layers", options.layers, "number of them").range(1, 1000);
  add("heads", options.heads, "of attention in each layer").range(1, 1000);
  add("seed", options.seed, "of the weights").range(0, 1e12);
}

Json config_of(const CreateOptions& options) {
  return {{"architectures", {"ViTModel"}},
          {"model_type", options.family},
          {"image_size", options.image_size},
          {"patch_size", options.patch_size},
          {"num_channels", 3},
          {"hidden_size", options.width},
          {"num_hidden_layers", options.layers},
          {"num_attention_heads", options.heads},
          {"intermediate_size", 4 * options.width},
          {"hidden_act", "gelu"},
          {"hidden_dropout_prob", 0.0},
          {"attention_probs_dropout_prob", 0.0},
          {"initializer_range", 0.02},
          {"layer_norm_eps", 1e-12},
          {"qkv_bias", true}};
}

int run(const CreateOptions& options, bool json) {
  check(!options.out.empty(), ErrorKind::invalid_argument, "--out", "expected a folder for the model, got none");
  check(!std::filesystem::exists(options.out), ErrorKind::invalid_argument, options.out, "expected a folder that does not exist yet");
  check(options.image_size % options.patch_size == 0, ErrorKind::invalid_argument, "--patch-size",
        "expected a divisor of --image-size {}, got {}", options.image_size, options.patch_size);
  const auto model = models::make_fresh(config_of(options), {.seed = static_cast<uint64_t>(options.seed)});
  int64_t parameters = 0;
  for (const auto& parameter : model->parameters()) parameters += parameter.numel();
  std::filesystem::create_directories(std::filesystem::absolute(options.out).parent_path());
  models::save_model(options.out, *model, /*base_folder=*/options.out);
  const models::ImageProcessor processor{.height = options.image_size, .width = options.image_size};
  write_file_atomic(std::filesystem::path(options.out) / "preprocessor_config.json", format_json(models::to_json(processor)));
  if (json) {
    std::cout << format_json({{"saved", options.out}, {"parameters", parameters}});
  } else {
    std::cout << fmt::format("{} parameters, new\nsaved {}\n", count_text(parameters), options.out);
  }
  return 0;
}

}  // namespace

void add_create(CLI::App& app) {
  struct State {
    CreateOptions options;
    OptionTable table;
  };
  auto state = std::make_shared<State>();
  auto command =
      std::make_shared<Command>(app, "create", "a model folder with new weights",
                                "lowrank create --family vit --image-size 64 --out vit\n"
                                "  lowrank train --model vit --data flowers/ --method full --learning-rate 1e-3 --epochs 60 --out run");
  declare(state->table, state->options);
  command->describe(state->table);
  command->on_run([command, state] {
    command->apply(state->table);
    command->finish("create");
    return run(state->options, command->json());
  });
}

}  // namespace lowrank::cli
