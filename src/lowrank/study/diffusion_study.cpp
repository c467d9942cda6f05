#include "lowrank/study/diffusion_study.h"

#include <algorithm>
#include <map>
#include <set>

#include "lowrank/base/error.h"
#include "lowrank/base/hash.h"
#include "lowrank/generate/adapted_pipeline.h"
#include "lowrank/nn/host.h"
#include "lowrank/study/measures.h"
#include "lowrank/tensor/memory.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/diffusion/job.h"

namespace lowrank::study {

namespace {

const std::map<std::string, std::string> kSheetTitles = {
    {"test", "Test captions"}, {"prompts", "Prompts without a true picture"}, {"forgetting", "Forgetting: the base's own captions"}};
constexpr int64_t kOtherNoise = 1'000'000;  // from a picture's seed to that of its second drawing

/// "feature" of the test pictures, "forgetting feature" of the others.
std::string measure_name(const std::string& part, const std::string& what) { return part == "test" ? what : part + " " + what; }

/// Adapters merged while this lives, so that drawing costs what the base costs; the weights' very bytes come back.
class Merged {
 public:
  explicit Merged(const models::Pipeline& pipeline) : pipeline_(pipeline) {
    generate::merge_adapters(pipeline, /*all=*/pipeline.unet->parameters().front().scalar_type() == at::kFloat);
  }
  ~Merged() {
    for (const auto& [component, module] : generate::adaptable_components(pipeline_)) {
      for (const auto& [name, host] : nn::hosts_of(*module)) {
        if (host->is_merged()) host->unmerge();
      }
    }
  }
  Merged(const Merged&) = delete;
  Merged& operator=(const Merged&) = delete;

 private:
  const models::Pipeline& pipeline_;
};

Json facts_of(const data::ImageSet& set) {
  const data::ImageReport& report = set.report;
  std::map<data::Size, int64_t> sizes;
  for (const auto& entry : set.entries) ++sizes[entry.placement.bucket];
  Json facts = {{"folder", report.folder}, {"pictures", set.size()}, {"sizes", Json::object()}};
  for (const auto& [size, pictures] : sizes) facts["sizes"][data::to_string(size)] = pictures;
  facts.update({{"captions missing", report.missing_captions.size()},
                {"captions over the token limit", report.long_prompts.size()},
                {"enlarged", report.upscaled.size()},
                {"groups of equal pictures", report.duplicates.size()},
                {"broken, left out", report.broken.size()},
                {"share of the area cut away", report.mean_cropped},
                {"SHA-256", report.hash}});
  return facts;
}

}  // namespace

class DiffusionStudy::Trained : public TrainedRun {
 public:
  Trained(const DiffusionStudy& study, train::DiffusionRequest request)
      : study_(study), request_(std::move(request)), job_(request_), result_(train::run(job_, request_)) {}

  const train::RunResult& result() const override { return result_; }

  void test(Run& run, const Study& study, const RunHooks& hooks) override {
    const models::Pipeline& trained = job_.trainee().pipeline;
    models::Pipeline pipeline = study_.pipeline_;
    pipeline.unet = trained.unet;
    const bool own_text = request_.diffusion.text_encoder_learning_rate > 0;
    if (own_text) {
      pipeline.text_encoder = trained.text_encoder;
      pipeline.text_encoder_2 = trained.text_encoder_2;
    }
    const Merged merged(pipeline);
    for (const Part& part : study_.parts_) {
      std::vector<generate::Conditions> conditions = part.conditions;
      const DrawOptions& options = study_.request_.draw;
      if (own_text) {
        const generate::PromptEncoder encoder(pipeline, study_.request_.tokenizer, {options.clip_skip});
        conditions = encode_captions(encoder, part.set.captions, options.negative);
      }
      const auto drawn = draw(pipeline, part.set, conditions, options, options.seed, hooks);
      run.distances.merge(study_.distances(part, drawn));
      if (run.seed == study_.request_.train.options.seed) study_.write(part, run_name(run), drawn);
    }
    score_distances(run, study);
  }

  void save(const std::filesystem::path& folder) const override { job_.save(folder, job_.describe(result_.to_json())); }

 private:
  const DiffusionStudy& study_;
  train::DiffusionRequest request_;
  train::DiffusionJob job_;
  train::RunResult result_;
};

DiffusionStudy::DiffusionStudy(DiffusionStudyRequest request) : request_(std::move(request)) {
  check(request_.test != nullptr, ErrorKind::invalid_argument, "compare", "expected test pictures, got none");
  check(request_.train.validation != nullptr || request_.train.diffusion.validation_fraction > 0, ErrorKind::invalid_argument, "compare",
        "expected pictures to validate on: learning rates are chosen by them");
  std::set<std::string> shown;
  for (const auto& entry : request_.train.pictures->entries) shown.insert(entry.content_hash);
  Problems leaks(ErrorKind::invalid_argument, "compare");
  for (const auto& entry : request_.test->entries) {
    if (shown.contains(entry.content_hash)) leaks.add(fmt::format("test picture {} is in the training pictures too", entry.sample.name));
  }
  leaks.raise_if_any("take them out of one of the folders");
}

double DiffusionStudy::default_learning_rate(const std::string& method) const { return train::default_diffusion_rate(method); }

void DiffusionStudy::describe(Study& study) const {
  study.model = request_.train.model.string();
  study.unit = "pictures";
  study.score_name = kCloseness;
  std::string hashes;
  const auto add = [&](const char* name, const data::ImageSet* set) {
    if (set == nullptr) return;
    study.data_report[name] = facts_of(*set);
    hashes += std::string(name) + set->report.hash;
  };
  add("training", request_.train.pictures);
  add("validation", request_.train.validation);
  add("test", request_.test);
  add("forgetting", request_.forgetting);
  if (request_.prompts != nullptr) hashes += "prompts" + request_.prompts->hash;
  study.data_hash = sha256_hex(hashes);
}

void DiffusionStudy::load() {
  const auto device = tensor::parse_device(request_.train.options.device);
  pipeline_ = models::load_pipeline(request_.train.model, train::weights_dtype(request_.train.options));
  for (const auto& [name, module] : generate::adaptable_components(pipeline_)) module->to(device);
  pipeline_.vae->to(device);
  if (request_.feature_model.empty()) {
    features_ = evaluate::latent_features(pipeline_.vae);
  } else {
    auto model = models::load_image_model(request_.feature_model, {});
    model->to(device);
    model->eval();
    features_ = evaluate::class_token_features(std::move(model), request_.feature_model.filename().string());
  }
  const generate::PromptEncoder encoder(pipeline_, request_.tokenizer, {request_.draw.clip_skip});
  const auto add = [&](const std::string& name, const data::ImageSet* set) {
    if (set == nullptr) return;
    Part part{.name = name, .set = drawing_set(*set, request_.train.diffusion.pictures)};
    part.conditions = encode_captions(encoder, part.set.captions, request_.draw.negative);
    part.features = features_of(*features_, part.set.truth, request_.draw.batch);
    parts_.push_back(std::move(part));
  };
  add("test", request_.test);
  add("forgetting", request_.forgetting);
  if (request_.prompts != nullptr) load_prompts(encoder);
}

void DiffusionStudy::load_prompts(const generate::PromptEncoder& encoder) {
  Part part{.name = "prompts", .set = {}, .conditions = {}, .features = {}};
  for (const Prompt& prompt : request_.prompts->prompts) {
    part.set.captions.push_back(data::plain_caption(prompt.text, request_.train.diffusion.pictures.caption));
    part.set.sizes.push_back(data::bucket_options(request_.train.diffusion.pictures).resolution);
  }
  part.conditions = encode_captions(encoder, part.set.captions, request_.draw.negative);
  for (const Gallery& gallery : request_.prompts->galleries) {
    identifiers_.emplace_back(gallery, request_.train.diffusion.pictures, *features_, request_.draw.batch);
  }
  parts_.push_back(std::move(part));
}

/// 1 for a prompt whose picture shows another class than it asks for; by gallery, and in any of them.
DiffusionStudy::Distances DiffusionStudy::prompt_errors(const std::vector<at::Tensor>& drawn) const {
  Distances errors;
  std::vector<double>& any = errors["prompts in all"] = std::vector<double>(drawn.size(), 0);
  for (size_t g = 0; g < identifiers_.size(); ++g) {
    const std::string& name = request_.prompts->galleries[g].name;
    const auto found = identifiers_[g].classes_of(drawn);
    for (size_t i = 0; i < drawn.size(); ++i) {
      const auto wanted = request_.prompts->prompts[i].wanted.find(name);
      if (wanted == request_.prompts->prompts[i].wanted.end()) continue;
      const double error = found[i] == wanted->second ? 0 : 1;
      errors["prompts " + name].push_back(error);
      any[i] = std::max(any[i], error);
    }
  }
  return errors;
}

void DiffusionStudy::measure_prompts(Study& study, const Distances& base) const {
  std::vector<double> any(request_.prompts->prompts.size(), 1);  // chances that all galleries are right, taken as independent
  for (size_t g = 0; g < identifiers_.size(); ++g) {
    const std::string& name = request_.prompts->galleries[g].name;
    Measure measure{.name = "prompts " + name, .title = "wrong " + name, .explanation = identifiers_[g].explanation(), .of = "prompts"};
    for (size_t i = 0; i < any.size(); ++i) {
      const auto wanted = request_.prompts->prompts[i].wanted.find(name);
      if (wanted == request_.prompts->prompts[i].wanted.end()) continue;
      measure.best.push_back(identifiers_[g].own_error(wanted->second));
      any[i] *= 1 - measure.best.back();
    }
    if (measure.best.empty()) continue;
    measure.base = base.at(measure.name);
    study.measures.push_back(std::move(measure));
  }
  for (double& chance : any) chance = 1 - chance;
  study.measures.push_back({.name = "prompts in all",
                            .title = "wrong in any",
                            .explanation = "the share of prompts whose picture is wrong in at least one of these",
                            .of = "prompts",
                            .base = base.at("prompts in all"),
                            .best = any,
                            .base_again = {}});
}

void DiffusionStudy::measure_base(Study& study, const Study* before, const RunHooks& hooks) {
  load();
  if (before != nullptr) {
    study.measures = before->measures;
    study.sheets = before->sheets;
  } else {
    for (const Part& part : parts_) measure(part, study, hooks);
    std::ranges::stable_partition(study.measures, [&](const Measure& one) { return one.name == request_.judge; });
  }
  pipeline_.unet.reset();
  tensor::return_free_memory();
}

void DiffusionStudy::measure(const Part& part, Study& study, const RunHooks& hooks) const {
  const bool is_test = part.name == "test";
  const auto drawn = draw(pipeline_, part.set, part.conditions, request_.draw, request_.draw.seed, hooks);
  Sheet sheet{part.name, kSheetTitles.at(part.name), {}};
  for (const int64_t i : shown(part)) sheet.captions.push_back(part.set.captions[static_cast<size_t>(i)]);
  study.sheets.push_back(std::move(sheet));
  write(part, "base", drawn);
  if (part.name == "prompts") return measure_prompts(study, prompt_errors(drawn));
  const auto best = reconstruct(pipeline_, part.set.truth, request_.draw.batch);
  const Distances base = distances(part, drawn), least = distances(part, best);
  Distances again;
  if (is_test) again = distances(part, draw(pipeline_, part.set, part.conditions, request_.draw, request_.draw.seed + kOtherNoise, hooks));
  const std::string pixels = "the root mean square difference over all pixels and colours of the two pictures, in [0, 1]";
  for (const std::string what : {"feature", "pixel"}) {
    const std::string name = measure_name(part.name, what);
    study.measures.push_back({.name = name,
                              .title = what + " distance",
                              .explanation = what == "pixel" ? pixels : features_->explanation(),
                              .of = part.name,
                              .base = base.at(name),
                              .best = least.at(name),
                              .base_again = is_test ? again.at(name) : std::vector<double>{}});
  }
  write(part, "truth", part.set.truth);
  write(part, "best", best);
}

/// Spread evenly.
std::vector<int64_t> DiffusionStudy::shown(const Part& part) const {
  const int64_t size = part.set.size(), rows = std::min(size, part.name == "forgetting" ? (request_.rows + 1) / 2 : request_.rows);
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < rows; ++i) numbers.push_back(i * size / rows);
  return numbers;
}

DiffusionStudy::Distances DiffusionStudy::distances(const Part& part, const std::vector<at::Tensor>& drawn) const {
  if (part.name == "prompts") return prompt_errors(drawn);
  Distances result;
  result[measure_name(part.name, "pixel")] = pixel_distances(drawn, part.set.truth);
  const auto seen = features_of(*features_, drawn, request_.draw.batch);
  result[measure_name(part.name, "feature")] = feature_distances(*features_, seen, part.features);
  return result;
}

void DiffusionStudy::write(const Part& part, const std::string& column, const std::vector<at::Tensor>& pictures) const {
  const auto numbers = shown(part);
  for (size_t row = 0; row < numbers.size(); ++row) {
    write_drawing(request_.out / "pictures" / column / fmt::format("{}-{}.png", part.name, row),
                  pictures[static_cast<size_t>(numbers[row])]);
  }
}

std::unique_ptr<TrainedRun> DiffusionStudy::train(const Run& run, const RunHooks& hooks) {
  train::DiffusionRequest request = request_.train;
  request.method = run.method;
  request.options.learning_rate = run.learning_rate;
  request.options.seed = run.seed;
  request.adapter.reset();
  if (run.method != "full") {
    request.adapter = request_.adapter_for(run.method);
    request.adapter->seed = static_cast<uint64_t>(run.seed);
  }
  request.stop = hooks.stop;
  request.progress = hooks.progress;
  return std::make_unique<Trained>(*this, std::move(request));
}

}  // namespace lowrank::study
