// Between records and live models: a file's adapter on a model for sampling, evaluation and merging, and a trained adapter as a record.
#pragma once

#include "lowrank/adapters/attach.h"
#include "lowrank/adapters/dialects/record.h"

namespace lowrank::adapters {

/// One layer of a record, in any form that files have, as it stands: its tensors do not train. W' is adapted()'s, W + k·(W' − W) with a
/// multiplier k. Plain LoRA runs in rank space, everything else through W'.
class RecordAdapter : public nn::Adapter {
 public:
  explicit RecordAdapter(ModuleRecord record) : record_(std::move(record)) {}

  at::Tensor apply_to_weight(const at::Tensor& w) const override;
  std::optional<nn::LowRankForm> low_rank(const nn::Host& host) const override;
  bool is_additive() const override { return record_.axis == MagnitudeAxis::none; }
  const ModuleRecord& record() const { return record_; }

 private:
  ModuleRecord record_;
};

/// Attaches the record's layers of `component` to the model's hosts under `name`. Throws Error{shape} naming every layer that the model
/// lacks or has in another size, and every bias or norm difference, which no host takes; the model is then as before.
std::vector<std::pair<std::string, nn::Host*>> attach_record(torch::nn::Module& model, const AdapterRecord& record,
                                                             const std::string& component, const std::string& name,
                                                             double multiplier = 1.0);

/// The live adapters of a set as modules of `component`, on the CPU; convolutions' factors as [R, I, kh, kw] and [O, R, 1, 1].
std::vector<ModuleRecord> records_of(const AdapterSet& set, const std::string& component);

}  // namespace lowrank::adapters
