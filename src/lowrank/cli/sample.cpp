// lowrank sample: pictures from prompts, with adapters in any naming.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/image_session.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/data/images/grid.h"
#include "lowrank/data/images/png_text.h"
#include "lowrank/generate/infotext.h"
#include "lowrank/generate/sampling.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/runtime.h"

namespace lowrank::cli {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct SampleVerb {
  ImageModelOptions model;
  generate::SampleOptions sample;
  int64_t clip_skip = 0, count = 1, seed = 0;
  std::string prompt, prompts, negative, tokenizer, long_prompts = "chunk", out;
  bool grid = true;
};

/// One picture to make.
struct Job {
  std::string prompt;
  uint64_t seed;
  fs::path file;
};

std::vector<std::string> prompts_of(const SampleVerb& options) {
  check(options.prompt.empty() || options.prompts.empty(), ErrorKind::invalid_argument, "sample",
        "expected --prompt or --prompts, got both");
  if (options.prompts.empty()) return {options.prompt};
  return generate::read_prompts(options.prompts);
}

/// Picture i of a prompt has seed + i, so that it can be made again alone.
std::vector<Job> jobs_of(const SampleVerb& options) {
  std::vector<Job> jobs;
  for (const std::string& prompt : prompts_of(options)) {
    for (int64_t i = 0; i < options.count; ++i) {
      const auto seed = static_cast<uint64_t>(options.seed + i);
      jobs.push_back({prompt, seed, fs::path(options.out) / fmt::format("{:05}-{}.png", jobs.size(), seed)});
      check(!fs::exists(jobs.back().file), ErrorKind::invalid_argument, jobs.back().file.string(),
            "expected no such file yet: nothing is overwritten");
    }
  }
  return jobs;
}

generate::Infotext infotext_of(const SampleVerb& options, const ImageSession& session) {
  generate::Infotext info = generate::describe_sampling(session.pipeline, options.model.model, options.sample);
  info.negative = options.negative;
  info.clip_skip = options.clip_skip;
  for (const auto& one : session.adapters) {
    info.adapters.push_back(one.use);
    info.adapter_hashes.push_back(generate::adapter_hash(one.use.path));
  }
  return info;
}

generate::SampleHooks hooks_of(ProgressLine& line, size_t picture, size_t pictures, int64_t steps) {
  const auto show = [&line, picture, pictures, steps](Progress progress) {
    progress.done += static_cast<int64_t>(picture) * steps;
    progress.total = static_cast<int64_t>(pictures) * steps;
    progress.figures = {{"picture", fmt::format("{} of {}", picture + 1, pictures)}};
    line.show(progress);
  };
  return {show, &interrupt_token()};
}

void write_grid(const SampleVerb& options, const std::vector<data::Picture>& pictures) {
  if (!options.grid || pictures.size() < 2) return;
  const auto columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(pictures.size()))));
  data::write_png(fs::path(options.out) / "grid.png", data::picture_grid(pictures, columns, 4));
}

int run(const SampleVerb& options, const Json& resolved, bool json) {
  check(!options.out.empty(), ErrorKind::invalid_argument, "--out", "expected a folder for the pictures, got none");
  const std::vector<Job> jobs = jobs_of(options);
  tensor::initialise_runtime(options.model.threads);
  const bool narrow = options.model.dtype == "auto" && tensor::prefers_bfloat16(tensor::parse_device(options.model.device));
  const auto dtype = options.model.dtype != "auto" ? tensor::parse_dtype(options.model.dtype) : narrow ? at::kBFloat16 : at::kFloat;
  const ImageSession session = open_image_session(options.model, dtype);
  generate::merge_adapters(session.pipeline, /*all=*/dtype == at::kFloat);
  const generate::PromptEncoder encoder(session.pipeline, options.tokenizer, {options.clip_skip, options.long_prompts == "chunk"});
  encoder.refuse_long(options.negative);  // all that can be known before the first picture
  for (const Job& job : jobs) encoder.refuse_long(job.prompt);
  generate::Infotext info = infotext_of(options, session);
  make_folder(options.out);
  write_file_atomic(fs::path(options.out) / "sample.json", format_json(resolved));

  ProgressLine line;
  std::vector<data::Picture> pictures;
  Json rows = Json::array();
  const auto started = Clock::now();
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto conditions = encoder.encode(jobs[i].prompt, options.negative);
    const std::vector<uint64_t> seeds{jobs[i].seed};
    const at::Tensor picture =
        generate::sample(session.pipeline, conditions, options.sample, seeds, hooks_of(line, i, jobs.size(), options.sample.sampler.steps));
    pictures.push_back({{info.width, info.height}, generate::rgb_bytes(picture[0]), {}, {}});
    info.prompt = jobs[i].prompt;
    info.seed = jobs[i].seed;
    const std::string text = generate::to_string(info);
    write_file_atomic(jobs[i].file, data::with_png_text(data::encode_png(pictures.back()), "parameters", text));
    rows.push_back({{"file", jobs[i].file.string()}, {"seed", jobs[i].seed}, {"prompt", jobs[i].prompt}, {"parameters", text}});
    if (!json) {
      line.clear();
      std::cout << fmt::format("saved {}: {}\n", jobs[i].file.string(), jobs[i].prompt) << std::flush;
    }
  }
  line.clear();
  write_grid(options, pictures);
  const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
  const auto steps = static_cast<double>(options.sample.sampler.steps * static_cast<int64_t>(jobs.size()));
  if (json) {
    std::cout << format_json({{"pictures", rows}, {"seconds", seconds}, {"steps_per_second", steps / seconds}});
  } else {
    std::cout << adapters_text(session)
              << fmt::format("{} in {}, {:.2f} steps/s\n", jobs.size() == 1 ? "1 picture" : fmt::format("{} pictures", jobs.size()),
                             duration_text(seconds), steps / seconds);
  }
  return 0;
}

void declare_sample(OptionTable& table, SampleVerb& options) {
  declare(table, options.model);
  table.add("tokenizer", options.tokenizer, "folder of CLIP's tokenizer; needed for a single checkpoint, which holds none").group("Model");
  table.add("prompt", options.prompt, "what to draw").group("Prompt");
  table.add("prompts", options.prompts, "file with a prompt a line, # before a comment, in place of --prompt").group("Prompt");
  table.add("negative", options.negative, "what to keep away from").group("Prompt");
  table.add("long-prompts", options.long_prompts, "prompts over 75 tokens: in pieces that are joined, or an error")
      .choices({"chunk", "refuse"})
      .group("Prompt");
  table.add("clip-skip", options.clip_skip, "last layers of the text encoders left out, beyond the model's own (A1111 counts one more)")
      .range(0, 64)
      .group("Prompt");
  table.add("seed", options.seed, "of the first picture; the i-th has seed + i").range(0, 9e15).group("Sampling");
  table.add("count", options.count, "pictures a prompt").range(1, 100000).group("Sampling");
  table.add("cfg", options.sample.cfg, "how much the prompt is followed; 1: without a negative prompt, twice as fast")
      .range(0, 100)
      .group("Sampling");
  declare(table, options.sample.sampler);
  table.add("width", options.sample.width, "in pixels; 0: the model's own").range(0, 16384).group("Sampling");
  table.add("height", options.sample.height, "in pixels; 0: the model's own").range(0, 16384).group("Sampling");
  table.add("out", options.out, "folder for the pictures, made if need be").group("Output");
  table.add("grid", options.grid, "also grid.png with all pictures").group("Output");
}

}  // namespace

void add_sample(CLI::App& app) {
  struct State {
    SampleVerb options;
    OptionTable table;
  };
  auto state = std::make_shared<State>();
  auto command = std::make_shared<Command>(
      app, "sample", "pictures from prompts, with adapters in any naming",
      "lowrank sample --model MODEL --prompt 'a pumpkin' --adapter style.safetensors:0.8 --steps 20 --sampler dpmpp_2m --out pictures");
  declare_sample(state->table, state->options);
  command->describe(state->table);
  command->on_run([command, state] {
    command->apply(state->table);
    command->finish("sample");
    return run(state->options, state->table.resolved(), command->json());
  });
}

}  // namespace lowrank::cli
