// What a finished run leaves in its folder:
//   adapter/        PEFT's files and lowrank.json, for every low-rank method
//   model/          a whole transformers folder and lowrank.json, for full and none: PEFT loads no folder without adapters,
//                   and a trained head alone is no format that anybody reads
//   options.json    the resolved options     metrics.jsonl, tensorboard/     every step
#pragma once

#include <filesystem>

#include "lowrank/train/trainee.h"

namespace lowrank::train {

/// Writes adapter/ or model/ below `out`, whole or not at all, and returns its path. `description` becomes lowrank.json.
/// The adapter is read back by an independent path and compared before it takes its place: Error{internal} when it differs.
std::filesystem::path save_result(const std::filesystem::path& out, const std::filesystem::path& base_model, const Trainee& trainee,
                                  const Json& description);

/// lowrank.json: what the base folder and PEFT's files do not know. {format, method, task, labels, pooling, base_model,
/// base_fingerprint, max_length, options, adapter, result}.
Json describe(const TrainRequest& request, const Trainee& trainee, const Json& result);

/// SHA-256 over config.json's text and every tensor's name, dtype, shape and first and last 4 KB: names a model folder in
/// milliseconds, whatever dtype it is loaded in.
std::string model_fingerprint(const std::filesystem::path& folder);

/// SHA-256 over token ids, labels and sample ids of all three parts, in order.
std::string data_fingerprint(const data::Split& split);

}  // namespace lowrank::train
