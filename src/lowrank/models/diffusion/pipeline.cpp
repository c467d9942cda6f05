#include "lowrank/models/diffusion/pipeline.h"

#include <algorithm>
#include <set>

#include "lowrank/base/file.h"
#include "lowrank/base/log.h"
#include "lowrank/models/weights.h"
#include "lowrank/nn/new_weights.h"
#include "lowrank/tensor/dtype.h"

namespace lowrank::models {

namespace fs = std::filesystem;

namespace {

/// A folder of the pipeline whose weights are read here.
struct Component {
  const char *name, *library, *weights;  // weights: stem of the file
};
constexpr Component kComponents[] = {{"unet", "diffusers", "diffusion_pytorch_model"},
                                     {"vae", "diffusers", "diffusion_pytorch_model"},
                                     {"text_encoder", "transformers", "model"},
                                     {"text_encoder_2", "transformers", "model"}};

std::shared_ptr<torch::nn::Module> module_of(const Pipeline& pipeline, std::string_view component) {
  if (component == "unet") return pipeline.unet;
  if (component == "vae") return pipeline.vae;
  if (component == "text_encoder") return pipeline.text_encoder;
  return pipeline.text_encoder_2;
}

bool is_pickle(const fs::path& file) {
  const auto extension = file.extension();
  return extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt";
}

/// The file or index in `folder` that holds the weights.
fs::path weights_file(const fs::path& folder, const std::string& stem, const std::string& variant) {
  std::set<std::string> found;  // variants, "" the plain one
  std::vector<std::string> pickles;
  std::error_code refused;
  for (const auto& entry : fs::directory_iterator(folder, refused)) {
    const std::string name = entry.path().filename().string();
    if (is_pickle(entry.path())) pickles.push_back(name);
    const auto between = [&](std::string_view before, std::string_view after) {
      if (!name.starts_with(before) || !name.ends_with(after) || name.size() < before.size() + after.size()) return;
      const std::string part = name.substr(before.size(), name.size() - before.size() - after.size());
      if (part.empty()) found.insert("");
      if (part.starts_with(".") && part.find("-of-") == std::string::npos && part != ".safetensors.index") found.insert(part.substr(1));
    };
    between(stem, ".safetensors");
    between(stem + ".safetensors.index", ".json");
  }
  check(!refused, ErrorKind::io, folder.string(), "cannot list the folder: {}", refused.message());
  if (found.empty() && !pickles.empty()) {
    fail(ErrorKind::unsupported, folder.string(),
         fmt::format("expected {}.safetensors, got only pickles: {}", stem, fmt::join(pickles, ", ")),
         "pickles run code when read, so they are never read; convert them with diffusers: "
         "DiffusionPipeline.from_pretrained(DIR).save_pretrained(OUT, safe_serialization=True)");
  }
  const std::string chosen = !variant.empty() ? variant : found.contains("") || found.size() != 1 ? "" : *found.begin();
  if (!found.contains(chosen)) {
    fail(ErrorKind::io, folder.string(),
         fmt::format("expected {}{}.safetensors or its shards, got {}", stem, chosen.empty() ? "" : "." + chosen,
                     found.empty() ? "none" : fmt::format("variants {}", fmt::join(found, ", "))),
         found.empty() ? "" : "name one of the variants");
  }
  if (variant.empty() && !chosen.empty()) log(LogLevel::info, "models", fmt::format("{}: read in variant {}", folder.string(), chosen));
  const std::string dot = chosen.empty() ? "" : "." + chosen;
  const fs::path single = folder / (stem + dot + ".safetensors");
  return fs::exists(single) ? single : folder / (stem + ".safetensors.index" + dot + ".json");
}

/// Names of early diffusers versions and of transformers' two spellings, as this model spells them.
std::string modern_name(std::string_view component, std::string name) {
  if (component.starts_with("text_encoder")) {
    if (name.ends_with("embeddings.position_ids")) return "";  // 0, 1, 2, …
    return name.starts_with("text_model.") || name.starts_with("text_projection.") ? name : "text_model." + name;
  }
  if (component != "vae") return name;
  for (const auto& [old, now] :
       {std::pair{".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}}) {
    if (const size_t at = name.find(old); at != std::string::npos) name.replace(at, std::string_view(old).size(), now);
  }
  return name;
}

/// Components that pipelines may list and that change nothing in what is computed here.
bool is_left_alone(std::string_view key) {
  constexpr std::string_view kKeys[] = {"_class_name",   "_diffusers_version", "_name_or_path",           "tokenizer",
                                        "tokenizer_2",   "scheduler",          "safety_checker",          "feature_extractor",
                                        "image_encoder", "add_watermarker",    "requires_safety_checker", "force_zeros_for_empty_prompt"};
  return std::ranges::find(kKeys, key) != std::end(kKeys);
}

void check_index(const Json& index, const std::string& where) {
  Problems problems(ErrorKind::unsupported, where);
  const auto type = json_get<std::string>(index, "_class_name", "", where);
  const bool xl = type == "StableDiffusionXLPipeline";
  if (!xl && type != "StableDiffusionPipeline") {
    problems.add(fmt::format("expected StableDiffusionPipeline or StableDiffusionXLPipeline, got '{}'", type));
  }
  const Json expected = {{"unet", "UNet2DConditionModel"},
                         {"vae", "AutoencoderKL"},
                         {"text_encoder", "CLIPTextModel"},
                         {"text_encoder_2", xl ? Json("CLIPTextModelWithProjection") : Json()}};
  for (const auto& component : kComponents) {
    const Json& name = expected[component.name];
    const Json wanted = name.is_null() ? Json() : Json::array({component.library, name});
    const auto found = index.find(component.name);
    const bool absent = found == index.end() || (found->is_array() && found->size() == 2 && (*found)[1].is_null());
    if (absent ? wanted.is_null() : *found == wanted) continue;
    const auto text = [](const Json& value) { return value.is_null() ? "none" : value.dump(); };
    problems.add(fmt::format("component '{}': expected {}, got {}", component.name, text(wanted), absent ? "none" : text(*found)));
  }
  for (const auto& [key, value] : index.items()) {
    if (!expected.contains(key) && !is_left_alone(key)) problems.add(fmt::format("component '{}' ({}) is not known", key, value.dump()));
  }
  problems.raise_if_any("only Stable Diffusion 1.x and XL are read");
}

/// Without lambda_min_clipped when it is -Infinity: no JSON can say that, and it is what diffusers takes for an absent key.
Json read_scheduler(const fs::path& file) {
  Json config = read_python_json(file);
  if (config.is_object() && config.contains("lambda_min_clipped") && config["lambda_min_clipped"].is_null())
    config.erase("lambda_min_clipped");
  return config;
}

/// Whether the index lists a component that is not null.
bool lists(const Json& index, const std::string& key) {
  const auto found = index.find(key);
  return found != index.end() && found->is_array() && found->size() == 2 && !(*found)[1].is_null();
}

void copy_untouched(const Pipeline& pipeline, const fs::path& target, Json& index) {
  for (const std::string key : {"tokenizer", "tokenizer_2", "feature_extractor", "safety_checker", "image_encoder"}) {
    if (!lists(index, key)) continue;
    const bool own = key.starts_with("tokenizer") && !pipeline.tokenizer.empty();
    const fs::path from = own ? pipeline.tokenizer : pipeline.folder.empty() ? fs::path() : pipeline.folder / key;
    if (!fs::is_directory(from)) {
      log(LogLevel::warning, "models", fmt::format("{}: there is no '{}' to save with the model", target.string(), key));
      index[key] = {nullptr, nullptr};
      continue;
    }
    std::error_code failed;
    fs::copy(from, target / key, fs::copy_options::recursive, failed);
    check(!failed, ErrorKind::io, from.string(), "cannot copy it to {}: {}", target.string(), failed.message());
  }
}

}  // namespace

Pipeline make_pipeline(const Json& configs, const std::string& where, at::ScalarType dtype, nn::NewWeightsAre use) {
  Pipeline pipeline;
  const auto config = [&](const char* name) -> const Json& {
    const auto found = configs.find(name);
    check(found != configs.end() && found->is_object(), ErrorKind::file_format, where, "no configuration of '{}'", name);
    return *found;
  };
  const auto in = [&](const char* name) { return where + "/" + name; };
  pipeline.model_index = config("model_index");
  pipeline.scheduler = config("scheduler");
  check_index(pipeline.model_index, where);
  const bool upcast = dtype == at::kHalf && json_get<bool>(config("vae"), "force_upcast", true, where);
  {
    const nn::NewWeights weights(c10::TensorOptions().dtype(upcast ? at::kFloat : dtype), use);
    pipeline.vae = std::make_shared<AutoencoderKL>(config("vae"), in("vae"));
  }
  const nn::NewWeights weights(c10::TensorOptions().dtype(dtype), use);
  pipeline.unet = std::make_shared<UNet2DConditionModel>(config("unet"), in("unet"));
  pipeline.text_encoder = std::make_shared<ClipTextModel>(config("text_encoder"), in("text_encoder"), /*with_projection=*/false);
  if (lists(pipeline.model_index, "text_encoder_2")) {
    pipeline.text_encoder_2 = std::make_shared<ClipTextModel>(config("text_encoder_2"), in("text_encoder_2"), /*with_projection=*/true);
  }
  return pipeline;
}

Json configs_of(const Pipeline& pipeline) {
  Json configs = {{"model_index", pipeline.model_index},
                  {"unet", pipeline.unet->json()},
                  {"vae", pipeline.vae->json()},
                  {"text_encoder", pipeline.text_encoder->json()},
                  {"scheduler", pipeline.scheduler}};
  if (pipeline.is_xl()) configs["text_encoder_2"] = pipeline.text_encoder_2->json();
  return configs;
}

Pipeline load_diffusers(const fs::path& folder, at::ScalarType dtype, const std::string& variant) {
  check(fs::is_directory(folder), ErrorKind::io, folder.string(), "expected a model folder with model_index.json, got no folder");
  Json configs = {{"model_index", read_json(folder / "model_index.json")},
                  {"scheduler", read_scheduler(folder / "scheduler" / "scheduler_config.json")}};
  check_index(configs["model_index"], (folder / "model_index.json").string());
  std::vector<Component> components;
  for (const auto& component : kComponents) {
    if (!lists(configs["model_index"], component.name)) continue;
    configs[component.name] = read_json(folder / component.name / "config.json");
    components.push_back(component);
  }
  Pipeline pipeline = make_pipeline(configs, folder.string(), dtype, nn::NewWeightsAre::replaced);
  pipeline.folder = folder;
  for (const auto& component : components) {
    const io::TensorFile file = io::TensorFile::open(weights_file(folder / component.name, component.weights, variant));
    StoredTensors stored(file, [&](const std::string& name) { return modern_name(component.name, name); });
    const auto module = module_of(pipeline, component.name);
    stored.fill(
        *module, [](const std::string& name) { return io::LdmTensor{name}; }, module->parameters().front().scalar_type());
    stored.finish();
  }
  return pipeline;
}

void save_diffusers(const fs::path& folder, const Pipeline& pipeline) {
  const Json configs = configs_of(pipeline);
  AtomicFolder target(folder);
  Json index = pipeline.model_index;
  copy_untouched(pipeline, target.path(), index);
  write_file_atomic(target.path() / "model_index.json", format_json(index));
  fs::create_directory(target.path() / "scheduler");
  write_file_atomic(target.path() / "scheduler" / "scheduler_config.json", format_json(pipeline.scheduler));
  for (const auto& component : kComponents) {
    const auto module = module_of(pipeline, component.name);
    if (!module) continue;
    refuse_unmerged(*module);
    tensor::TensorMap tensors;
    collect(
        *module, [](const std::string& name) { return io::LdmTensor{name}; }, tensors);
    Json config = configs[component.name];
    if (std::string_view(component.library) == "transformers") {
      config.erase("torch_dtype");
      config["dtype"] = tensor::dtype_name(tensors.begin()->second.scalar_type());
    }
    const fs::path to = target.path() / component.name;
    fs::create_directory(to);
    write_file_atomic(to / "config.json", format_json(config));
    tensor::save_tensors(to / (std::string(component.weights) + ".safetensors"), tensors, {{"format", "pt"}});
  }
  target.commit();
}

Pipeline load_pipeline(const fs::path& path, at::ScalarType dtype) {
  return fs::is_directory(path) ? load_diffusers(path, dtype) : load_checkpoint(path, dtype);
}

}  // namespace lowrank::models
