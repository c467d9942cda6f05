#include "lowrank/cli/autoencoder_run.h"

#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/cli/diffusion_run.h"
#include "lowrank/data/images/contact_sheet.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/diffusion/autoencoder_job.h"
#include "lowrank/train/trainer.h"

namespace lowrank::cli {

namespace {

struct AutoencoderRunOptions {
  std::string model, method = "full", component = "vae", out;
  train::TrainOptions train;
  train::AutoencoderOptions autoencoder;
};

void declare_run(OptionTable& table, AutoencoderRunOptions& options) {
  table.add("model", options.model, "diffusers folder or original checkpoint").group("Model");
  table.add("data", options.autoencoder.pictures.images, "folder of pictures").group("Data");
  table.add("method", options.method, "how to train it").choices({"full"}).group("Method");
  table.add("component", options.component, "what to train").group("Method");
  table.add("out", options.out, "folder for the result").group("Model");
  declare(table, options.train);
  declare(table, options.autoencoder);
}

}  // namespace

void describe_autoencoder(Command& command) {
  AutoencoderRunOptions options;
  OptionTable table;
  declare_run(table, options);
  command.describe(table);
}

int train_autoencoder(Command& command, bool resume) {
  AutoencoderRunOptions options;
  options.train.best_by = "loss";
  OptionTable table;
  declare_run(table, options);
  command.apply(table);
  command.finish("component 'vae'");
  check(command.given("method") == "full", ErrorKind::invalid_argument, "--method", "expected full with --component vae, got '{}'",
        command.given("method"));
  check(!options.autoencoder.pictures.images.empty(), ErrorKind::invalid_argument, "--data", "expected a folder of pictures, got none");
  check(!options.out.empty(), ErrorKind::invalid_argument, "--out", "expected a folder for the result, got none");
  tensor::initialise_runtime(options.train.threads);
  ProgressLine line;
  options.autoencoder.pictures.threads = options.train.threads;
  const data::ImageSet pictures = data::read_image_set(options.autoencoder.pictures, {}, line.sink());
  line.clear();
  std::cerr << pictures.report.to_text();
  train::AutoencoderRequest request;
  request.options = options.train;
  request.autoencoder = options.autoencoder;
  request.model = options.model;
  request.out = options.out;
  request.resume = resume;
  request.pictures = &pictures;
  request.progress = line.sink();
  request.metrics = picture_validation_lines(line);
  request.stop = &interrupt_token();
  const auto folder = train::open_folder(request);
  train::AutoencoderJob job(request);
  write_file_atomic(request.out / "data_report.json", format_json(pictures.report.to_json()));
  data::write_png(request.out / "pictures.png", data::contact_sheet(pictures, options.autoencoder.pictures, {}).picture);
  const train::RunResult result = train::run(job, request, folder.get());
  line.clear();
  return finish_picture_run(command, result);
}

}  // namespace lowrank::cli
