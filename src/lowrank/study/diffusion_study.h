// Adapting a Stable Diffusion model to captioned pictures: every run draws the test captions, each with the same noise whatever the method
// and the seed of training, and is measured by the distance to the true pictures (measures.h). Learning rates are chosen by the
// validation loss under fixed noise. Forgetting is the same measure over pictures that the base was made on.
#pragma once

#include <functional>
#include <optional>

#include "lowrank/study/drawing.h"
#include "lowrank/study/prompts.h"
#include "lowrank/train/diffusion/request.h"

namespace lowrank::study {

struct DiffusionStudyRequest {
  train::DiffusionRequest train;  // method, adapter, learning_rate and seed are the runs'; what it points to must outlive the study
  std::function<adapters::AdapterConfig(const std::string& method)> adapter_for;
  const data::ImageSet* test = nullptr;        // must outlive the study, as the next
  const data::ImageSet* forgetting = nullptr;  // null: it is not looked at
  const PromptSet* prompts = nullptr;          // without true pictures; null: none
  DrawOptions draw;
  std::filesystem::path tokenizer;      // for drawing; empty: the pipeline's own
  std::filesystem::path feature_model;  // a vision transformer; empty: the pipeline's autoencoder
  std::string judge = "feature";        // or "pixel": the measure that methods are recommended by
  int64_t rows = 12;                    // of a contact sheet
  std::filesystem::path out;            // of the study: pictures go to out/pictures
};

class DiffusionStudy : public StudyKind {
 public:
  explicit DiffusionStudy(DiffusionStudyRequest request);

  double default_learning_rate(const std::string& method) const override;
  void describe(Study& study) const override;
  void measure_base(Study& study, const Study* before, const RunHooks& hooks) override;
  std::unique_ptr<TrainedRun> train(const Run& run, const RunHooks& hooks) override;

 private:
  class Trained;
  /// Pictures to draw, and the true ones' features.
  struct Part {
    std::string name;  // "test", "forgetting", "prompts"
    DrawingSet set;
    std::vector<generate::Conditions> conditions;
    std::vector<at::Tensor> features;
  };
  using Distances = std::map<std::string, std::vector<double>>;

  void load();
  void load_prompts(const generate::PromptEncoder& encoder);
  Distances prompt_errors(const std::vector<at::Tensor>& drawn) const;
  void measure_prompts(Study& study, const Distances& base) const;
  std::vector<int64_t> shown(const Part& part) const;
  /// By Measure::name.
  Distances distances(const Part& part, const std::vector<at::Tensor>& drawn) const;
  void measure(const Part& part, Study& study, const RunHooks& hooks) const;
  void write(const Part& part, const std::string& column, const std::vector<at::Tensor>& pictures) const;

  DiffusionStudyRequest request_;
  models::Pipeline pipeline_;  // without a UNet once the base was measured
  std::unique_ptr<evaluate::PictureFeatures> features_;
  std::vector<Part> parts_;
  std::vector<Identifier> identifiers_;  // one a gallery
};

}  // namespace lowrank::study
