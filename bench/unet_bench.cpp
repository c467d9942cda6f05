// Training steps of a UNet: lowrank_unet_bench JOB.json, for bench/unet.py. Modes: "write" makes the rows' adapters,
// "parity" writes the gradients of their first step, "profile" says where the time of steps goes, "steps" takes one for each line of
// standard input and prints its seconds, so that two programs can take turns ("next": the next row's turn); "sampling" draws latents in
// place of such a step. "device" is cpu unless the job says cuda.
#include <ATen/Parallel.h>
#include <ATen/ops/zeros_like.h>
#include <chrono>
#include <cstdio>
#include <iostream>

#include "operator_times.h"

#include "lowrank/adapters/attach.h"
#include "lowrank/base/error.h"
#include "lowrank/generate/sampling.h"
#include "lowrank/models/diffusion/pipeline.h"
#include "lowrank/models/weights.h"
#include "lowrank/nn/new_weights.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/memory.h"
#include "lowrank/tensor/random.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/adamw.h"
#include "lowrank/train/diffusion/picture_batch.h"

namespace lowrank::bench {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

at::Device device_of(const Json& job) { return tensor::parse_device(job.value("device", "cpu")); }

std::shared_ptr<models::UNet2DConditionModel> read_unet(const Json& job, at::ScalarType dtype) {
  const auto file = job.at("weights").get<std::string>(), config = job.at("config").get<std::string>();
  const nn::NewWeights weights(c10::TensorOptions().dtype(dtype), nn::NewWeightsAre::replaced);
  auto unet = std::make_shared<models::UNet2DConditionModel>(read_json(config), config);
  const io::TensorFile stored = io::TensorFile::open(file);
  models::StoredTensors tensors(stored, [](const std::string& name) { return name; });
  tensors.fill(
      *unet, [](const std::string& name) { return io::LdmTensor{name}; }, dtype);
  tensors.finish();
  unet->to(device_of(job));
  return unet;
}

/// One adapter on the UNet, while it lives, and what its steps need.
class Row {
 public:
  Row(const Json& job, const Json& row, models::UNet2DConditionModel& unet, bool fresh) : job_(job), unet_(unet) {
    set_ = adapters::attach(unet, adapters::AdapterConfig::from_json(row.at("config")), {});
    std::vector<train::Trainable> trainables;
    for (const auto& [name, tensor] : set_.parameters()) trainables.push_back({name, tensor});
    parameters_.emplace(std::move(trainables));
    optimizer_.emplace(*parameters_, train::AdamWOptions{});
    if (!fresh) read(row.at("adapter").get<std::string>());
    const auto scheduler = diffusion::parse_scheduler_config(models::pipeline_configs("sd15")["scheduler"], "sd15", "ddpm");
    loss_.emplace(diffusion::NoiseSchedule(scheduler), scheduler.prediction, diffusion::DiffusionOptions{});
    const auto inputs = tensor::load_tensors(job.at("inputs").get<std::string>());
    const auto device = device_of(job);
    batch_.clean = inputs.at("latents").to(device);
    const int64_t pictures = batch_.clean.size(0);
    for (int64_t i = 0; i < pictures; ++i) batch_.ids.push_back(i);
    batch_.weights.assign(static_cast<size_t>(pictures), 1.0 / static_cast<double>(pictures));
    batch_.text.states = inputs.at("states").to(device, unet.parameters().front().scalar_type());
    noise_ = inputs.at("noise").to(device);
  }
  ~Row() { adapters::detach(set_); }
  Row(const Row&) = delete;
  Row& operator=(const Row&) = delete;

  /// A fresh adapter with noise on every tensor, so that none of them hides behind another's zeros.
  void write(const std::filesystem::path& file) {
    const at::NoGradGuard no_grad;
    tensor::TensorMap tensors;
    for (const auto& entry : parameters_->entries()) {
      at::Tensor noise = at::zeros_like(entry.value);
      tensor::fill_normal_(noise, 0, 0.02, RandomStream(1, "bench:" + entry.name));
      tensors[entry.name] = entry.value + noise;
    }
    tensor::save_tensors(file, tensors, {});
  }

  double backward() {
    const std::vector<double> times(batch_.ids.size(), job_.at("timestep").get<double>());
    const at::Tensor loss = train::denoising_loss(unet_, *loss_, batch_, {noise_, noise_}, times).sum;
    loss.backward();
    parameters_->gather();
    return loss.item<double>();
  }

  double step(OperatorTimes* times = nullptr) {
    const double loss = backward();
    if (times != nullptr) times->in_optimiser(true);
    optimizer_->step(job_.at("learning_rate"), train::clip_factor(train::length(parameters_->gradients()), 1.0));
    if (times != nullptr) times->in_optimiser(false);
    return loss;
  }

  tensor::TensorMap gradients() const {
    tensor::TensorMap gradients;
    for (const auto& entry : parameters_->entries()) gradients[entry.name] = entry.gradient.clone();
    return gradients;
  }

  int64_t count() const { return parameters_->count(); }

 private:
  void read(const std::filesystem::path& file) {
    const at::NoGradGuard no_grad;
    const auto tensors = tensor::load_tensors(file);
    for (const auto& entry : parameters_->entries()) {
      const auto found = tensors.find(entry.name);
      check(found != tensors.end(), ErrorKind::file_format, file.string(), "expected a tensor '{}', got none", entry.name);
      at::Tensor value = entry.value;
      value.copy_(found->second);
    }
    parameters_->publish();
  }

  const Json& job_;
  models::UNet2DConditionModel& unet_;
  adapters::AdapterSet set_;
  std::optional<train::FlatParameters> parameters_;
  std::optional<train::AdamW> optimizer_;
  std::optional<diffusion::DiffusionLoss> loss_;
  train::PictureBatch batch_;
  at::Tensor noise_;
};

/// One step a line, up to "next" or the end of the input: prints its seconds at once; what the process was in all.
Json take_steps(const Json& job, Row& row) {
  const auto device = device_of(job);
  std::vector<double> losses;
  double first = 0;
  std::string line;
  if (!device.is_cpu()) tensor::reset_peak(device);
  while (std::getline(std::cin, line) && line != "next") {
    const double begin = now();
    losses.push_back(row.step());
    tensor::synchronize(device);
    if (first == 0) first = now();
    std::printf("%.6f\n", now() - begin);
    std::fflush(stdout);
  }
  return {{"losses", losses},
          {"first_step", first - job.at("started").get<double>()},
          {"peak_bytes", tensor::peak_bytes(device)},
          {"trained", row.count()}};
}

/// Guided DDIM steps from given noise, all of them a line; the latents are written at the end.
Json draw(const Json& job, const std::shared_ptr<models::UNet2DConditionModel>& unet) {
  models::Pipeline pipeline;
  pipeline.unet = unet;
  pipeline.scheduler = models::pipeline_configs("sd15")["scheduler"];
  const auto inputs = tensor::load_tensors(job.at("inputs").get<std::string>());
  const auto device = device_of(job);
  const generate::Conditions conditions{{inputs.at("states").to(device), {}}, {inputs.at("negative").to(device), {}}};
  const auto sampler = generate::sampler_for(pipeline, {.sampler = "ddim", .steps = job.at("sampling_steps")});
  const std::vector<uint64_t> seeds(static_cast<size_t>(inputs.at("noise").size(0)));
  at::Tensor latents;
  for (std::string line; std::getline(std::cin, line);) {
    const double begin = now();
    latents = generate::denoise(pipeline, *sampler, conditions, job.at("cfg"), inputs.at("noise").to(device), seeds);
    tensor::synchronize(device);
    std::printf("%.6f\n", now() - begin);
    std::fflush(stdout);
  }
  tensor::save_tensors(job.at("latents").get<std::string>(), {{"latents", latents.contiguous()}}, {});
  return {{"peak_bytes", tensor::peak_bytes(device)}};
}

Json profile(const Json& job, Row& row, int64_t rank) {
  row.step();
  OperatorTimes times(rank);
  const double begin = now();
  const int64_t steps = job.at("steps");
  for (int64_t i = 0; i < steps; ++i) row.step(&times);
  Json json = times.to_json();
  json["seconds"] = now() - begin;
  json["steps"] = steps;
  return json;
}

Json run(const Json& job) {
  tensor::initialise_runtime(job.at("threads"));
  const std::string mode = job.at("mode");
  const auto unet = read_unet(job, tensor::parse_dtype(job.at("dtype").get<std::string>()));
  Json results = Json::array();
  if (mode == "sampling") results.push_back(draw(job, unet));
  for (const Json& entry : job.at("rows")) {
    Row row(job, entry, *unet, mode == "write");
    if (mode == "write") {
      row.write(entry.at("adapter").get<std::string>());
      results.push_back(row.count());
    } else if (mode == "parity") {
      const double loss = row.backward();
      tensor::save_tensors(entry.at("gradients").get<std::string>(), row.gradients(), {});
      results.push_back(loss);
    } else if (mode == "profile") {
      results.push_back(profile(job, row, entry.at("config").at("rank")));
    } else {
      check(mode == "steps", ErrorKind::invalid_argument, "bench", "expected mode write, parity, profile, steps or sampling, got '{}'",
            mode);
      results.push_back(take_steps(job, row));
    }
  }
  return {{"rows", results}, {"machine", tensor::machine_description()}};
}

}  // namespace

}  // namespace lowrank::bench

int main(int count, char** arguments) {
  try {
    lowrank::check(count == 2, lowrank::ErrorKind::invalid_argument, "bench", "expected one job file, got {} arguments", count - 1);
    std::printf("%s\n", lowrank::format_json_line(lowrank::bench::run(lowrank::read_json(arguments[1]))).c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
