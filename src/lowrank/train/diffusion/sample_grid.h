// Pictures of fixed prompts and seeds while a Stable Diffusion model trains, drawn by what `lowrank sample` draws with. Below
// out/samples/: SSSSSS-PP.png of step S and prompt P with their parameters, samples.json and index.html.
#pragma once

#include <memory>
#include <optional>

#include "lowrank/generate/infotext.h"
#include "lowrank/train/diffusion/request.h"
#include "lowrank/train/diffusion/samples_page.h"
#include "lowrank/train/job.h"

namespace lowrank::train {

class SampleGrid {
 public:
  /// Reads the prompts and, when the run goes on, what was drawn before. Both must outlive this. Throws what PromptEncoder, picture_size
  /// and sampler_for throw, and Error{invalid_argument} when a run goes on with other prompts or settings.
  SampleGrid(const models::Pipeline& pipeline, const DiffusionRequest& request);

  /// Encodes the prompts once for all, after which no text encoder is needed.
  void encode();
  /// Draws a row unless there is one, and writes it. A picture whose latents are not finite is left out with a warning.
  /// Error{cancelled} when stopped.
  void draw(int64_t step, double epoch, bool last, const StopToken* stop, const ProgressSink& progress);
  /// One step of the longest prompt, and its decoding.
  Probe probe() const;

 private:
  std::filesystem::path folder() const { return request_.out / "samples"; }
  Json settings() const;
  void read_record();
  void write_record(bool last) const;
  generate::Conditions conditions(size_t prompt) const;
  std::string draw_one(const SampleRow& row, size_t prompt, const generate::SampleHooks& hooks) const;

  const models::Pipeline& pipeline_;
  const DiffusionRequest& request_;
  const SampleGridOptions& options_;
  std::vector<std::string> prompts_;
  generate::SampleOptions sample_;
  generate::Infotext infotext_;
  std::unique_ptr<generate::PromptEncoder> encoder_;  // none after encode()
  std::vector<generate::Conditions> conditions_;      // after encode()
  std::vector<SampleRow> rows_;
};

}  // namespace lowrank::train
