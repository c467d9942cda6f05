// lowrank compare for a Stable Diffusion model: which method draws nearest to the true pictures?
#include <iostream>
#include <map>

#include "lowrank/base/error.h"
#include "lowrank/cli/diffusion_run.h"
#include "lowrank/cli/study_run.h"
#include "lowrank/study/diffusion_study.h"

namespace lowrank::cli {

namespace {

struct DrawnState {
  std::string title = "Which method draws these pictures best?", test, forgetting, prompts, feature_model, judge = "feature";
  int64_t rows = 12, forgetting_pictures = 0;
  DiffusionRunOptions run;
  study::CompareOptions compare;
  study::DrawOptions draw;

  DrawnState() { compare.methods = {"lora", "dora", "lokr"}; }
};

void declare_drawn(OptionTable& table, DrawnState& state) {
  table.add("model", state.run.model, "diffusers folder or original checkpoint").group("Model");
  table.add("out", state.run.out, "folder of the study; run again to go on with it").group("Model");
  table.add("title", state.title, "shown on top of the report").group("Model");
  table.add("tokenizer", state.run.tokenizer, "folder of CLIP's tokenizer; empty: tokenizer/ in the model's folder").group("Model");
  table.add("data", state.run.diffusion.pictures.images, "folder of captioned pictures to train on").group("Data");
  table.add("test", state.test, "folder of captioned pictures to draw, which training does not see").group("Data");
  table.add("forgetting", state.forgetting, "folder of pictures that the base was made on: drawn before and after").group("Data");
  table.add("forgetting-pictures", state.forgetting_pictures, "of these, spread evenly; 0: all").range(0, 1e6).group("Data");
  table
      .add("prompts", state.prompts, "JSON file of prompts without a true picture, with galleries of examples (docs/comparing_pictures.md)")
      .group("Data");
  table
      .add("feature-model", state.feature_model,
           "folder of a vision transformer whose class tokens say how unlike two pictures are; empty: the model's own autoencoder")
      .group("Comparison");
  table.add("judge", state.judge, "distance that methods are recommended by").choices({"feature", "pixel"}).group("Comparison");
  table.add("sheet-rows", state.rows, "test captions shown in the report").range(1, 1000).group("Comparison");
  study::declare(table, state.compare);
  study::declare(table, state.draw);
  declare(table, state.run.train);
  declare(table, state.run.diffusion);
}

Json resolved(DrawnState& state, const std::map<std::string, adapters::AdapterConfig>& configs) {
  OptionTable table;
  declare_drawn(table, state);
  Json options = table.resolved();
  for (const char* key : {"model", "out", "title", "threads", "learning-rate", "keep", "cache", "data", "test", "forgetting"})
    options.erase(key);
  for (const auto& [name, config] : configs) options[name] = config.to_json();
  return options;
}

/// `count` of the set's pictures, spread evenly.
void thin_out(data::ImageSet& set, int64_t count) {
  std::vector<data::ImageEntry> kept;
  for (int64_t i = 0; i < std::min(count, set.size()); ++i)
    kept.push_back(set.entries[static_cast<size_t>(i * set.size() / std::min(count, set.size()))]);
  set.entries = std::move(kept);
}

std::string command_line(const DrawnState& state) {
  std::string text =
      fmt::format("lowrank compare --model {} --data {} --test {}", state.run.model, state.run.diffusion.pictures.images, state.test);
  if (!state.forgetting.empty()) text += " --forgetting " + state.forgetting;
  if (!state.prompts.empty()) text += " --prompts " + state.prompts;
  if (!state.feature_model.empty()) text += " --feature-model " + state.feature_model;
  return text + " --out " + state.run.out;
}

}  // namespace

void describe_drawn(Command& command) {
  DrawnState state;
  OptionTable table;
  declare_drawn(table, state);
  command.describe(table);
}

int compare_drawn(Command& command) {
  DrawnState state;
  OptionTable table;
  declare_drawn(table, state);
  command.apply(table);
  std::map<std::string, adapters::AdapterConfig> configs;
  for (const auto& method : state.compare.methods) {
    if (method != "full") configs.emplace(method, image_adapter(command, method));
  }
  command.finish("the methods compared and an image model");
  check(!state.run.out.empty(), ErrorKind::invalid_argument, "--out", "expected a folder for the study, got none");
  check(!state.test.empty(), ErrorKind::invalid_argument, "--test", "expected a folder of pictures, got none");
  ProgressLine line;
  const auto prepared = load_run(state.run, line.sink());
  const auto read = [&](const std::string& folder) {
    return read_pictures(other_pictures(state.run, folder), state.run, prepared->request.tokens.front(), line.sink());
  };
  const data::ImageSet test = read(state.test);
  data::ImageSet forgetting = state.forgetting.empty() ? data::ImageSet() : read(state.forgetting);
  if (state.forgetting_pictures > 0) thin_out(forgetting, state.forgetting_pictures);
  const study::PromptSet prompts = state.prompts.empty() ? study::PromptSet() : study::read_prompts(state.prompts);
  line.clear();
  std::cerr << prepared->pictures.report.to_text();

  study::DiffusionStudyRequest what{.train = prepared->request, .test = &test};
  what.adapter_for = [&configs](const std::string& method) { return adapters::AdapterConfig::from_json(configs.at(method).to_json()); };
  if (!state.forgetting.empty()) what.forgetting = &forgetting;
  if (!state.prompts.empty()) what.prompts = &prompts;
  what.draw = state.draw;
  what.draw.clip_skip = state.run.diffusion.clip_skip;
  what.tokenizer = state.run.tokenizer;
  what.feature_model = state.feature_model;
  what.judge = state.judge;
  what.rows = state.rows;
  what.out = state.run.out;
  if (what.train.diffusion.cache.empty()) what.train.diffusion.cache = (what.out / "cache").string();
  what.train.out.clear();  // runs write nothing themselves
  study::DiffusionStudy kind(std::move(what));
  study::CompareRequest request{.out = state.run.out, .options = state.compare, .first_seed = state.run.train.seed};
  request.resolved = resolved(state, configs);
  request.title = state.title;
  request.command = command_line(state);
  return run_study(command, request, kind, line);
}

}  // namespace lowrank::cli
