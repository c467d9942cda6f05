#include "lowrank/train/diffusion/sample_grid.h"

#include <algorithm>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/log.h"
#include "lowrank/data/images/picture.h"
#include "lowrank/data/images/png_text.h"

namespace lowrank::train {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> prompts_of(const SampleGridOptions& options) {
  std::vector<std::string> prompts = options.prompts;
  if (options.prompt_file.empty()) return prompts;
  const auto more = generate::read_prompts(options.prompt_file);
  prompts.insert(prompts.end(), more.begin(), more.end());
  return prompts;
}

/// The resolution's sides are rounded down to what the autoencoder can draw; a size that was asked for is taken as it is.
generate::SampleOptions sample_options(const DiffusionRequest& request, const models::Pipeline& pipeline) {
  const SampleGridOptions& options = request.diffusion.samples;
  const auto config = diffusion::parse_scheduler_config(pipeline.scheduler, request.model.string(), options.sampler);
  const std::string& wanted = request.diffusion.diffusion.prediction_type;
  check(wanted == "auto" || config.prediction == diffusion::parse_prediction(wanted), ErrorKind::unsupported, "samples",
        "expected a scheduler of '{}', which is trained, got one of '{}'", wanted, diffusion::to_string(config.prediction));
  generate::SampleOptions sample;
  sample.sampler.sampler = config.sampler;  // by name, so that what the file lacks is told once
  sample.sampler.steps = options.steps;
  sample.cfg = options.cfg;
  if (!options.size.empty()) {
    const data::Size size = data::parse_size(options.size, "sample-size");
    return sample.width = size.width, sample.height = size.height, sample;
  }
  const data::Size size = data::bucket_options(request.diffusion.pictures).resolution;
  const int64_t shrink = pipeline.vae->shrink();
  sample.width = std::max(shrink, size.width / shrink * shrink);
  sample.height = std::max(shrink, size.height / shrink * shrink);
  return sample;
}

}  // namespace

SampleGrid::SampleGrid(const models::Pipeline& pipeline, const DiffusionRequest& request)
    : pipeline_(pipeline),
      request_(request),
      options_(request.diffusion.samples),
      prompts_(prompts_of(options_)),
      sample_(sample_options(request, pipeline)),
      infotext_(generate::describe_sampling(pipeline, request.model, sample_)),
      encoder_(std::make_unique<generate::PromptEncoder>(pipeline, request.tokenizer,
                                                         generate::PromptOptions{.clip_skip = request.diffusion.clip_skip})) {
  generate::sampler_for(pipeline, sample_.sampler);
  infotext_.negative = options_.negative;
  infotext_.seed = static_cast<uint64_t>(options_.seed);
  infotext_.clip_skip = request.diffusion.clip_skip;
  if (request.resume && fs::exists(folder() / "samples.json")) read_record();
}

Json SampleGrid::settings() const {
  return {{"prompts", prompts_},
          {"negative", options_.negative},
          {"sampler", infotext_.sampler},
          {"steps", options_.steps},
          {"cfg", options_.cfg},
          {"seed", options_.seed},
          {"size", fmt::format("{}x{}", infotext_.width, infotext_.height)}};
}

void SampleGrid::read_record() {
  const fs::path file = folder() / "samples.json";
  const Json record = read_json(file);
  check(json_get<int64_t>(record, "format", 0, file.string()) == 1, ErrorKind::file_format, file.string(), "expected samples of format 1");
  const Json before = json_get<Json>(record, "settings", Json::object(), file.string()), now = settings();
  for (const auto& [key, value] : now.items()) {
    if (before.value(key, Json()) == value) continue;
    fail(ErrorKind::invalid_argument, file.string(),
         fmt::format("expected samples as before the stop, but '{}' was {} and is {} now", key, before.value(key, Json()).dump(),
                     value.dump()),
         "give the same --sample options, none at all, or move the folder away");
  }
  for (const Json& row : json_get<Json>(record, "rows", Json::array(), file.string())) {
    rows_.push_back({json_get<int64_t>(row, "step", 0, file.string()), json_get<double>(row, "epoch", 0, file.string()),
                     json_get<std::vector<std::string>>(row, "files", {}, file.string())});
    check(rows_.back().files.size() == prompts_.size(), ErrorKind::file_format, file.string(), "expected {} pictures a row, got {}",
          prompts_.size(), rows_.back().files.size());
  }
}

void SampleGrid::encode() {
  for (size_t i = 0; i < prompts_.size(); ++i) conditions_.push_back(encoder_->encode(prompts_[i], options_.negative));
  encoder_.reset();
}

generate::Conditions SampleGrid::conditions(size_t prompt) const {
  return encoder_ ? encoder_->encode(prompts_[prompt], options_.negative) : conditions_[prompt];
}

void SampleGrid::draw(int64_t step, double epoch, bool last, const StopToken* stop, const ProgressSink& progress) {
  const auto place = std::ranges::lower_bound(rows_, step, {}, &SampleRow::step);
  if (place == rows_.end() || place->step != step) {
    std::error_code problem;
    fs::create_directories(folder(), problem);
    check(!problem, ErrorKind::io, folder().string(), "cannot make the folder of the samples: {}", problem.message());
    SampleRow row{.step = step, .epoch = epoch};
    const int64_t all = static_cast<int64_t>(prompts_.size()) * options_.steps;
    for (size_t i = 0; i < prompts_.size(); ++i) {
      const auto show = [&, i](const Progress& one) {
        const std::string picture = fmt::format("{} of {}", i + 1, prompts_.size());
        if (progress) progress({"sample", static_cast<int64_t>(i) * options_.steps + one.done, all, "steps", {{"picture", picture}}});
      };
      row.files.push_back(draw_one(row, i, {show, stop}));
    }
    rows_.insert(place, std::move(row));
  }
  write_record(last);
}

std::string SampleGrid::draw_one(const SampleRow& row, size_t prompt, const generate::SampleHooks& hooks) const {
  const std::vector<uint64_t> seeds{infotext_.seed};
  try {
    const at::Tensor drawn = generate::sample(pipeline_, conditions(prompt), sample_, seeds, hooks);
    const data::Picture picture{{infotext_.width, infotext_.height}, generate::rgb_bytes(drawn[0]), {}, {}};
    generate::Infotext info = infotext_;
    info.prompt = prompts_[prompt];
    info.training_step = row.step;
    const std::string name = fmt::format("{:06}-{:02}.png", row.step, prompt);
    write_file_atomic(folder() / name, data::with_png_text(data::encode_png(picture), "parameters", generate::to_string(info)));
    return name;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::unsupported) throw;
    log(LogLevel::warning, "samples", fmt::format("step {}, '{}': {}", row.step, prompts_[prompt], error.problem()));
    return "";
  }
}

void SampleGrid::write_record(bool last) const {
  Json rows = Json::array();
  for (const SampleRow& row : rows_) rows.push_back({{"step", row.step}, {"epoch", row.epoch}, {"files", row.files}});
  write_file_atomic(folder() / "samples.json", format_json({{"format", 1}, {"settings", settings()}, {"rows", rows}}));
  std::string text = fmt::format("{}, {} steps, CFG {:g}, seed {}, {} × {} pixels", infotext_.sampler, options_.steps, options_.cfg,
                                 options_.seed, infotext_.width, infotext_.height);
  if (!options_.negative.empty()) text += fmt::format(", away from “{}”", options_.negative);
  write_file_atomic(folder() / "index.html", render_html({.name = request_.out.filename().string(),
                                                          .settings = text,
                                                          .prompts = prompts_,
                                                          .width = infotext_.width,
                                                          .height = infotext_.height,
                                                          .rows = rows_,
                                                          .grows = !last}));
}

Probe SampleGrid::probe() const {
  const auto one = [](int64_t) { return int64_t{1}; };
  const auto run = [this](int64_t) {
    const auto longest = std::ranges::max_element(prompts_, {}, [this](const auto& prompt) { return encoder_->chunks(prompt); });
    generate::SampleOptions options = sample_;
    options.sampler.steps = 1;
    const std::vector<uint64_t> seeds{infotext_.seed};
    generate::sample(pipeline_, conditions(static_cast<size_t>(longest - prompts_.begin())), options, seeds);
  };
  return {.phase = "sampling", .rows = 1, .units = one, .run = run, .remedy = "a smaller --sample-size, or --sample-every 0"};
}

}  // namespace lowrank::train
