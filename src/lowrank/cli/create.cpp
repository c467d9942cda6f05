// lowrank create: a model folder with new weights, to be trained with --method full.
#include <filesystem>
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/models/diffusion/pipeline.h"
#include "lowrank/models/image_model.h"
#include "lowrank/train/diffusion/text_states.h"

namespace lowrank::cli {

namespace fs = std::filesystem;

namespace {

struct CreateOptions {
  std::string family = "vit", out;
  int64_t seed = 42;
};

struct VitOptions {
  int64_t image_size = 64, patch_size = 8, width = 192, layers = 6, heads = 3;
};

struct StableDiffusionOptions {
  std::string architecture = "sd15", tokenizer;
};

void declare(OptionTable& table, CreateOptions& options) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Model");
  };
  add("family", options.family, "what kind of model").choices({"vit", "stable-diffusion"});
  add("out", options.out, "folder for the model; must not exist");
  add("seed", options.seed, "of the weights").range(0, 1e12);
}

void declare(OptionTable& table, VitOptions& options) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Vision transformer");
  };
  add("image-size", options.image_size, "side of the pictures that it takes, in pixels").range(8, 4096);
  add("patch-size", options.patch_size, "side of the patches that pictures are cut into").range(1, 1024);
  add("width", options.width, "of its states").range(8, 16384);
  add("layers", options.layers, "number of them").range(1, 1000);
  add("heads", options.heads, "of attention in each layer").range(1, 1000);
}

void declare(OptionTable& table, StableDiffusionOptions& options) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Stable Diffusion");
  };
  add("architecture", options.architecture,
      "sd15, sdxl, or a JSON file with the components' configurations: unet, vae, text_encoder, scheduler; what it leaves out is sd15's");
  add("tokenizer", options.tokenizer, "folder of CLIP's tokenizer, copied into the model");
}

Json vit_config(const VitOptions& options) {
  return {{"architectures", {"ViTModel"}},
          {"model_type", "vit"},
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

int64_t count_parameters(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const auto& parameter : module.parameters()) count += parameter.numel();
  return count;
}

/// Writes the model and returns its number of parameters.
int64_t create_vit(const CreateOptions& create, const VitOptions& options) {
  check(options.image_size % options.patch_size == 0, ErrorKind::invalid_argument, "--patch-size",
        "expected a divisor of --image-size {}, got {}", options.image_size, options.patch_size);
  const auto model = models::make_fresh(vit_config(options), {.seed = static_cast<uint64_t>(create.seed)});
  models::save_model(create.out, *model, /*base_folder=*/create.out);
  const models::ImageProcessor processor{.height = options.image_size, .width = options.image_size};
  write_file_atomic(fs::path(create.out) / "preprocessor_config.json", format_json(models::to_json(processor)));
  return count_parameters(*model);
}

Json read_architecture(const std::string& name) {
  if (name == "sd15" || name == "sdxl") return models::pipeline_configs(name);
  Json configs = models::pipeline_configs("sd15");
  const Json own = read_json(name);
  check(own.is_object(), ErrorKind::file_format, name, "expected an object of configurations, got {}", own.type_name());
  for (const auto& [component, config] : own.items()) {
    check(configs.contains(component), ErrorKind::file_format, name, "expected model_index, unet, vae, text_encoder or scheduler, got '{}'",
          component);
    configs[component] = config;
  }
  return configs;
}

int64_t create_stable_diffusion(const CreateOptions& create, const StableDiffusionOptions& options) {
  models::Pipeline pipeline =
      models::fresh_pipeline(read_architecture(options.architecture), options.architecture, static_cast<uint64_t>(create.seed));
  check(fs::is_directory(options.tokenizer), ErrorKind::invalid_argument, "--tokenizer",
        "expected a folder with CLIP's vocab.json and merges.txt, got '{}'", options.tokenizer);
  train::load_clip_tokens(options.tokenizer);  // refused now rather than in training
  pipeline.tokenizer = options.tokenizer;
  models::save_diffusers(create.out, pipeline);
  int64_t parameters = count_parameters(*pipeline.unet) + count_parameters(*pipeline.vae) + count_parameters(*pipeline.text_encoder);
  if (pipeline.is_xl()) parameters += count_parameters(*pipeline.text_encoder_2);
  return parameters;
}

/// Sets the options of one family from file and flags; those of the others are refused.
template <typename Options>
Options applied(Command& command, const std::string& family) {
  Options options;
  OptionTable table;
  declare(table, options);
  command.apply(table);
  command.finish(fmt::format("family '{}'", family));
  return options;
}

template <typename Options>
void describe_family(Command& command) {
  Options options;
  OptionTable table;
  declare(table, options);
  command.describe(table);
}

int run(Command& command, const CreateOptions& options) {
  check(!options.out.empty(), ErrorKind::invalid_argument, "--out", "expected a folder for the model, got none");
  check(!fs::exists(options.out), ErrorKind::invalid_argument, options.out, "expected a folder that does not exist yet");
  fs::create_directories(fs::absolute(options.out).parent_path());
  const int64_t parameters = options.family == "vit"
                                 ? create_vit(options, applied<VitOptions>(command, options.family))
                                 : create_stable_diffusion(options, applied<StableDiffusionOptions>(command, options.family));
  if (command.json()) {
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
                                "  lowrank create --family stable-diffusion --architecture small.json --tokenizer clip/ --out base\n"
                                "  lowrank train --model vit --data flowers/ --method full --learning-rate 1e-3 --epochs 60 --out run");
  declare(state->table, state->options);
  command->describe(state->table);
  describe_family<VitOptions>(*command);
  describe_family<StableDiffusionOptions>(*command);
  command->on_run([command, state] {
    command->apply(state->table);
    return run(*command, state->options);
  });
}

}  // namespace lowrank::cli
