// Adapting an encoder to labelled texts or pictures: a test item scores 1 when its label is right. Runs are paired by seed: same rows
// in the same order, same new head. Forgetting is the drift of the test items' similarities.
#pragma once

#include <functional>

#include "lowrank/adapters/config.h"
#include "lowrank/data/dataset.h"
#include "lowrank/models/text_model.h"
#include "lowrank/study/kind.h"
#include "lowrank/train/options.h"

namespace lowrank::study {

struct EncoderStudyRequest {
  std::filesystem::path model;
  const data::Split* split = nullptr;                                             // with validation and test rows; must outlive the study
  train::TrainOptions train;                                                      // learning_rate and seed are the runs'
  std::function<adapters::AdapterConfig(const std::string& method)> adapter_for;  // options of a low-rank method
  bool robustness = false;                                                        // test pictures under changed conditions too
};

class EncoderStudy : public StudyKind {
 public:
  explicit EncoderStudy(EncoderStudyRequest request);

  double default_learning_rate(const std::string& method) const override;
  void describe(Study& study) const override;
  void measure_base(Study& study, const Study* before, const RunHooks& hooks) override;
  std::unique_ptr<TrainedRun> train(const Run& run, const RunHooks& hooks) override;

 private:
  class Trained;

  EncoderStudyRequest request_;
  models::Pooling pooling_;
  at::Tensor original_;  // embeddings of the test rows before any adaptation [n, D]
};

}  // namespace lowrank::study
