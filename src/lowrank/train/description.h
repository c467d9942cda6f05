// What lowrank.json says of every run, whatever it trained.
#pragma once

#include "lowrank/train/run_request.h"

namespace lowrank::train {

/// What a run was made from.
struct RunInputs {
  std::string method;
  std::filesystem::path model;
  std::string fingerprint, data_hash;  // of the model and of its data
};

/// {format, method, base_model, base_fingerprint, data_hash, options, result} and the request's record; options are the training loop's
/// and the job's own.
Json describe_run(const RunRequest& request, const RunInputs& inputs, const Json& own_options, const Json& result);

}  // namespace lowrank::train
