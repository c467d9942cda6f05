#include "lowrank/train/description.h"

namespace lowrank::train {

Json describe_run(const RunRequest& request, const RunInputs& inputs, const Json& own_options, const Json& result) {
  Json options = resolved(request.options);
  options.update(own_options);
  Json description = {{"format", 1},
                      {"method", inputs.method},
                      {"base_model", inputs.model.string()},
                      {"base_fingerprint", inputs.fingerprint},
                      {"data_hash", inputs.data_hash},
                      {"options", options},
                      {"result", result}};
  if (!request.record.empty()) description["record"] = request.record;
  return description;
}

}  // namespace lowrank::train
