#include "lowrank/train/diffusion/trainee.h"

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <map>

#include "lowrank/adapters/dialects/convert.h"
#include "lowrank/adapters/dialects/live.h"
#include "lowrank/adapters/dialects/peft_numbers.h"
#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/nn/host.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/runtime.h"

namespace lowrank::train {

namespace fs = std::filesystem;

namespace {

constexpr size_t kSample = 4096;

std::vector<std::pair<std::string, torch::nn::Module*>> adaptable(const models::Pipeline& pipeline) {
  std::vector<std::pair<std::string, torch::nn::Module*>> parts = {{"unet", pipeline.unet.get()},
                                                                   {"text_encoder", pipeline.text_encoder.get()}};
  if (pipeline.is_xl()) parts.emplace_back("text_encoder_2", pipeline.text_encoder_2.get());
  return parts;
}

std::vector<std::pair<std::string, torch::nn::Module*>> components(const models::Pipeline& pipeline) {
  auto parts = adaptable(pipeline);
  parts.emplace_back("vae", pipeline.vae.get());
  return parts;
}

adapters::ModelLayout layout_of(const models::Pipeline& pipeline, const std::string& name) {
  adapters::ModelLayout layout{name, name, {}};
  for (const auto& [component, module] : adaptable(pipeline)) {
    for (const auto& [path, host] : nn::hosts_of(*module)) {
      const nn::HostShape shape = host->shape();
      layout.modules.push_back(
          {component, adapters::checkpoint_path(component, path), shape.out, shape.in, shape.is_convolution() ? shape.kernel[0] : 0});
    }
  }
  return layout;
}

adapters::AdapterConfig config_for(const DiffusionRequest& request, const std::string& component) {
  adapters::AdapterConfig config = request.adapter ? *request.adapter : adapters::make_config(request.method);
  check(config.method->name() == request.method, ErrorKind::invalid_argument, "train", "expected a configuration of '{}', got one of '{}'",
        request.method, config.method->name());
  config.seed = static_cast<uint64_t>(request.options.seed);
  if (!request.adapter) config.target_modules = default_targets();
  if (component != "unet") {
    config.target_modules = {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"};
    config.exclude_modules.clear();
    config.layers.clear();
  }
  return config;
}

/// Of the learning rate, by component: the text encoders have their own, 0 when they do not train.
double share_of(const std::string& component, const DiffusionRequest& request) {
  if (component == "unet") return 1;
  const double rate = request.options.learning_rate > 0 ? request.options.learning_rate : default_diffusion_rate(request.method);
  return request.diffusion.text_encoder_learning_rate / rate;
}

void add_all(DiffusionTrainee& trainee, const DiffusionRequest& request) {
  for (const auto& [component, module] : adaptable(trainee.pipeline)) {
    const double share = share_of(component, request);
    if (share == 0) continue;
    for (const auto& parameter : module->named_parameters())
      trainee.parameters.push_back({component + "." + parameter.key(), parameter.value().requires_grad_(true), share});
  }
}

void add_adapters(DiffusionTrainee& trainee, const DiffusionRequest& request) {
  for (const auto& [component, module] : adaptable(trainee.pipeline)) {
    const double share = share_of(component, request);
    if (share == 0) continue;
    trainee.adapters.emplace_back(component, adapters::attach(*module, config_for(request, component), {}));
    const auto& set = trainee.adapters.back().second;
    for (const auto& [name, tensor] : set.parameters()) {
      trainee.parameters.push_back({component + "." + name, tensor, share});
    }
  }
}

}  // namespace

std::vector<std::string> default_targets() { return {"transformer_blocks.*", "proj_in", "proj_out"}; }

at::ScalarType weights_dtype(const TrainOptions& options) {
  return tensor::compute_dtype(options.dtype, tensor::parse_device(options.device));
}

double default_diffusion_rate(const std::string& method) {
  return method == "full" ? 1e-5 : adapters::method_named(method).default_learning_rate() / 5;
}

bool DiffusionTrainee::has_dropout() const {
  return std::ranges::any_of(adapters, [](const auto& part) {
    return std::ranges::any_of(part.second.modules, [](const auto& module) { return module.adapter->has_dropout(); });
  });
}

adapters::AdapterRecord DiffusionTrainee::record() const {
  adapters::AdapterRecord record;
  for (const auto& [component, set] : adapters) {
    for (auto& module : adapters::records_of(set, component)) record.modules.push_back(std::move(module));
  }
  adapters::sort_modules(record);
  return record;
}

const adapters::Dialect& dialect_for(const DiffusionRequest& request) {
  const std::string& wanted = request.diffusion.save_as;
  if (wanted != "auto") return adapters::dialect_named(wanted);
  return adapters::dialect_named(request.method == "lora" ? "kohya" : "lycoris");
}

DiffusionTrainee make_trainee(const DiffusionRequest& request) {
  const auto device = tensor::parse_device(request.options.device);
  DiffusionTrainee trainee{.method = request.method, .pipeline = models::load_pipeline(request.model, weights_dtype(request.options))};
  models::Pipeline& pipeline = trainee.pipeline;
  for (const auto& [component, module] : adaptable(pipeline)) module->to(device);
  pipeline.vae->to(device);
  pipeline.unet->set_recompute(request.diffusion.recompute);
  trainee.unet_fingerprint = weights_hash(*pipeline.unet, kSample);
  trainee.layout = layout_of(pipeline, request.model.filename().string());
  if (request.method == "full") {
    add_all(trainee, request);
    return trainee;
  }
  add_adapters(trainee, request);
  adapters::AdapterRecord fresh = trainee.record();
  adapters::fit_to(fresh, dialect_for(request), {});  // refused now rather than after the last step
  return trainee;
}

fs::path save_trained_model(const fs::path& out, const fs::path& base, const std::vector<Trainable>& trained,
                            const std::function<void(models::Pipeline&)>& change) {
  const at::NoGradGuard no_grad;
  models::Pipeline pipeline = models::load_pipeline(base, at::kFloat);
  std::map<std::string, at::Tensor> stored;
  for (const auto& [component, module] : components(pipeline)) {
    for (const auto& parameter : module->named_parameters()) stored[component + "." + parameter.key()] = parameter.value();
  }
  for (const Trainable& one : trained) stored.at(one.name).copy_(one.tensor);
  if (change) change(pipeline);
  const bool folder = fs::is_directory(base);
  fs::path target = out / (folder ? "model" : "model.safetensors");
  (folder ? models::save_diffusers : models::save_checkpoint)(target, pipeline);
  return target;
}

fs::path save_result(const fs::path& out, const DiffusionRequest& request, const DiffusionTrainee& trainee, const Json& description) {
  fs::path target;
  if (trainee.method == "full") {
    target = save_trained_model(out, request.model, trainee.parameters,
                                [&](models::Pipeline& pipeline) { pipeline.scheduler = trainee.pipeline.scheduler; });
  } else {
    const adapters::Dialect& dialect = dialect_for(request);
    adapters::AdapterRecord record = trainee.record();
    record.metadata = training_metadata(request, description);
    adapters::fit_to(record, dialect, {});
    target = out / (dialect.name() == "peft" ? "adapter" : "adapter.safetensors");
    adapters::save_adapter(target, dialect, record, {&trainee.layout, out.filename().string()});
  }
  write_file_atomic(out / "lowrank.json", format_json(description));
  return target;
}

}  // namespace lowrank::train
