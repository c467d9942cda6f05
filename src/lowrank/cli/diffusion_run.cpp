#include "lowrank/cli/diffusion_run.h"

#include <filesystem>
#include <iostream>
#include <optional>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/cli/autoencoder_run.h"
#include "lowrank/cli/run_options.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/data/images/contact_sheet.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/diffusion/job.h"
#include "lowrank/train/trainer.h"

namespace lowrank::cli {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kWindow = 75, kMostWindows = 8;

void declare_run(OptionTable& table, DiffusionRunOptions& options) {
  table.add("model", options.model, "diffusers folder or original checkpoint").group("Model");
  table.add("data", options.diffusion.pictures.images, "folder of captioned pictures").group("Data");
  table.add("method", options.method, "how to adapt").group("Method");
  table.add("out", options.out, "folder for the result").group("Model");
  table.add("component", options.component, "what --method full trains: the UNet, or the autoencoder")
      .choices({"unet", "vae"})
      .group("Method");
  table.add("tokenizer", options.tokenizer, "folder of CLIP's tokenizer; empty: tokenizer/ in the model's folder").group("Model");
  declare(table, options.train);
  declare(table, options.diffusion);
}

std::vector<train::ClipTokens> load_tokens(const DiffusionRunOptions& options) {
  if (!options.tokenizer.empty()) return {train::load_clip_tokens(options.tokenizer)};
  const fs::path model = options.model;
  if (!fs::is_directory(model / "tokenizer")) {
    fail(ErrorKind::invalid_argument, "--tokenizer", fmt::format("expected a folder of CLIP's tokenizer, and '{}' has none", options.model),
         "give a folder with vocab.json and merges.txt, or tokenizer.json");
  }
  std::vector<train::ClipTokens> tokens = {train::load_clip_tokens(model / "tokenizer")};
  if (fs::is_directory(model / "tokenizer_2")) tokens.push_back(train::load_clip_tokens(model / "tokenizer_2"));
  return tokens;
}

void refuse_idle_sample_flags(const OptionTable& table, const train::SampleGridOptions& options) {
  if (!options.prompts.empty() || !options.prompt_file.empty()) return;
  for (const Option& option : table.options()) {
    if (option.group() != "Samples" || option.origin() == "built-in") continue;
    fail(ErrorKind::invalid_argument, "--" + option.name(), "expected prompts to draw, got none",
         "give --sample-prompt or --sample-prompts");
  }
}

}  // namespace

train::MetricSink picture_validation_lines(ProgressLine& line) {
  return [&line](const Json& metric) {
    if (metric.at("event") != "validation") return;
    line.clear();
    const Json& error = metric.at("standard_error");
    std::cerr << fmt::format("step {:>6}  epoch {:.2f}  validation loss {:.5f}{}", metric.at("step").get<int64_t>(),
                             metric.at("epoch").get<double>(), metric.at("loss").get<double>(),
                             error.is_null() ? "" : fmt::format(" ± {:.5f}", error.get<double>()));
    if (metric.contains("psnr")) std::cerr << fmt::format("  PSNR {:.2f} dB", metric.at("psnr").get<double>());
    if (metric.contains("bands")) std::cerr << "  by timestep";
    for (const Json& band : metric.value("bands", Json::array())) std::cerr << fmt::format(" {:.4f}", band.at("loss").get<double>());
    std::cerr << (metric.at("best").get<bool>() ? "  best\n" : "\n");
  };
}

int finish_picture_run(const Command& command, const train::RunResult& result, const fs::path& samples) {
  if (result.outcome == train::Outcome::cancelled) {
    std::cerr << fmt::format("stopped after step {}; the same command with --resume goes on from there\n", result.steps);
    return exit_status(ErrorKind::cancelled);
  }
  if (command.json()) {
    std::cout << format_json(result.to_json());
    return 0;
  }
  std::cout << fmt::format("{} after {} steps: {} parameters trained in {}, {:.2f} pictures/s, peak memory {}\n",
                           train::to_string(result.outcome), count_text(result.steps), count_text(result.trained_parameters),
                           duration_text(result.seconds), result.units_per_second, bytes_text(result.peak_bytes));
  if (result.best >= 0) {
    const auto& best = result.validations[static_cast<size_t>(result.best)];
    std::cout << fmt::format("best validation loss {:.5f} at step {}\n", best.loss, best.step);
  }
  const Json cut = result.notes.value("cut_captions", Json::array());
  if (!cut.empty()) std::cout << fmt::format("cut captions: {}, named in lowrank.json\n", cut.size());
  if (!samples.empty()) std::cout << fmt::format("samples {}\n", samples.string());
  std::cout << fmt::format("saved {}\n", result.saved.string());
  return 0;
}

bool is_image_pipeline(const std::string& model) {
  return fs::is_regular_file(model) || (!model.empty() && fs::exists(fs::path(model) / "model_index.json"));
}

DiffusionRunOptions::DiffusionRunOptions() {
  train.epochs = 40;
  train.batch_size = 2;
  train.schedule = "cosine";
  train.validate_every = 2;
  train.best_by = "loss";
}

adapters::AdapterConfig image_adapter(Command& command, const std::string& method) {
  if (method == "none") {
    fail(ErrorKind::invalid_argument, "--method", "expected a method that trains something, got 'none', which trains a head alone",
         "use lora, dora, lokr or full");
  }
  adapters::AdapterConfig config = adapters::make_config(method);
  OptionTable own;
  config.declare(own);
  command.apply(own);
  if (command.given("alpha").empty()) config.alpha = static_cast<double>(config.rank);
  if (command.given("target-modules").empty()) config.target_modules = train::default_targets();
  return config;
}

data::ImageSet read_pictures(data::ImageDataOptions options, const DiffusionRunOptions& run, const train::ClipTokens& tokens,
                             const ProgressSink& progress) {
  options.threads = run.train.threads;
  const int64_t windows = run.diffusion.prompt_windows > 0 ? run.diffusion.prompt_windows : kMostWindows;
  const data::TokenCounter counter{[&](const std::string& text) { return static_cast<int64_t>(tokens.encode(text).size()) + 2; },
                                   windows * kWindow + 2};
  return data::read_image_set(options, counter, progress);
}

void describe_diffusion(Command& command) {
  DiffusionRunOptions options;
  OptionTable table;
  declare_run(table, options);
  command.describe(table);
  describe_autoencoder(command);
}

std::unique_ptr<PreparedDiffusion> load_run(const DiffusionRunOptions& options, const ProgressSink& progress) {
  auto prepared = std::make_unique<PreparedDiffusion>();
  train::DiffusionRequest& request = prepared->request;
  check(!options.diffusion.pictures.images.empty(), ErrorKind::invalid_argument, "--data", "expected a folder of pictures, got none");
  tensor::initialise_runtime(options.train.threads);
  request.model = options.model;
  request.method = options.method;
  request.out = options.out;
  request.options = options.train;
  request.diffusion = options.diffusion;
  request.tokens = load_tokens(options);
  request.tokenizer = options.tokenizer;
  prepared->pictures = read_pictures(options.diffusion.pictures, options, request.tokens.front(), progress);
  request.pictures = &prepared->pictures;
  if (options.diffusion.validation_images.empty()) return prepared;
  prepared->validation =
      read_pictures(other_pictures(options, options.diffusion.validation_images), options, request.tokens.front(), progress);
  request.validation = &prepared->validation;
  return prepared;
}

data::ImageDataOptions other_pictures(const DiffusionRunOptions& options, const std::string& folder) {
  data::ImageDataOptions other = options.diffusion.pictures;
  other.images = folder;
  other.prior_images = other.masks = "";
  return other;
}

std::unique_ptr<PreparedDiffusion> prepare_diffusion(Command& command, DiffusionRunOptions& options, const ProgressSink& progress) {
  OptionTable table;
  declare_run(table, options);
  command.apply(table);
  refuse_idle_sample_flags(table, options.diffusion.samples);
  std::optional<adapters::AdapterConfig> adapter;
  if (options.method != "full") {
    adapter = image_adapter(command, options.method);
    adapter->seed = static_cast<uint64_t>(options.train.seed);
  }
  command.finish(fmt::format("method '{}' on an image model", options.method));
  auto prepared = load_run(options, progress);
  prepared->request.adapter = std::move(adapter);
  return prepared;
}

int train_diffusion(Command& command, bool resume) {
  if (command.given("component") == "vae") return train_autoencoder(command, resume);
  DiffusionRunOptions options;
  ProgressLine line;
  const auto prepared = prepare_diffusion(command, options, line.sink());
  check(!options.out.empty(), ErrorKind::invalid_argument, "--out", "expected a folder for the result, got none");
  line.clear();
  std::cerr << prepared->pictures.report.to_text();
  train::DiffusionRequest& request = prepared->request;
  request.resume = resume;
  request.progress = line.sink();
  request.metrics = picture_validation_lines(line);
  request.stop = &interrupt_token();
  const auto folder = train::open_folder(request);
  train::DiffusionJob job(request);
  Json report = prepared->pictures.report.to_json();
  report.update(job.notes());
  write_file_atomic(request.out / "data_report.json", format_json(report));
  data::write_png(request.out / "pictures.png", data::contact_sheet(prepared->pictures, request.diffusion.pictures, {}).picture);
  const train::RunResult result = train::run(job, request, folder.get());
  line.clear();
  return finish_picture_run(command, result, request.diffusion.samples.is_on() ? request.out / "samples/index.html" : fs::path());
}

int plan_diffusion(Command& command) {
  DiffusionRunOptions options;
  ProgressLine line;
  const auto prepared = prepare_diffusion(command, options, line.sink());
  line.clear();
  train::DiffusionJob job(prepared->request);
  Json report = prepared->pictures.report.to_json();
  report.update(job.notes());
  return print_plan(command, train::plan_memory(job), report, prepared->pictures.report.to_text());
}

}  // namespace lowrank::cli
