#include "lowrank/train/checkpoint.h"

#include "lowrank/base/error.h"
#include "lowrank/io/tensor_file.h"
#include "lowrank/tensor/load.h"

namespace lowrank::train {

namespace {

constexpr const char* kFormat = "lowrank checkpoint 3";

Json validations_json(const TrainState& state) {
  Json list = Json::array();
  for (const Validation& one : state.validations) {
    list.push_back({one.step, one.epoch, one.loss, one.score, one.train_loss, one.seconds, one.figures});
  }
  return list;
}

void check_identity(const Json& then, const Json& now, const std::string& where) {
  Problems problems(ErrorKind::invalid_argument, where);
  for (const auto& [key, value] : now.items()) {
    const auto old = then.find(key);
    if (old == then.end()) {
      problems.add(fmt::format("'{}' is {} now, and was not known to the run that wrote this", key, value.dump()));
    } else if (*old != value) {
      problems.add(fmt::format("'{}' was {} and is {} now", key, old->dump(), value.dump()));
    }
  }
  for (const auto& [key, value] : then.items()) {
    if (!now.contains(key)) problems.add(fmt::format("'{}' was {} and is not known now", key, value.dump()));
  }
  problems.raise_if_any("resume with the settings, model and data it was started with, or start anew in another folder");
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const TrainState& state, const Json& identity) {
  tensor::TensorMap tensors = {{"values", state.values}, {"m", state.m}, {"v", state.v}};
  if (state.best_values.defined()) tensors["best_values"] = state.best_values;
  if (state.average.defined()) tensors["average"] = state.average;
  const Json position = {{"step", state.step}, {"units", state.units}, {"seconds", state.seconds},
                         {"loss", state.loss}, {"best", state.best},   {"validations", validations_json(state)}};
  tensor::save_tensors(path, tensors, {{"format", kFormat}, {"identity", identity.dump()}, {"position", position.dump()}});
}

TrainState load_checkpoint(const std::filesystem::path& path, const Json& identity) {
  const std::string where = path.string();
  const io::TensorFile file = io::TensorFile::open(path);
  const auto& metadata = file.metadata();
  const auto format = metadata.find("format");
  check(format != metadata.end() && format->second == kFormat, ErrorKind::file_format, where, "expected a '{}' file", kFormat);
  check_identity(parse_json(metadata.at("identity"), where), identity, where);
  const Json position = parse_json(metadata.at("position"), where);
  TrainState state{.step = position.at("step"),
                   .units = position.at("units"),
                   .seconds = position.at("seconds"),
                   .loss = position.at("loss"),
                   .best = position.at("best")};
  for (const Json& row : position.at("validations")) state.validations.push_back({row[0], row[1], row[2], row[3], row[4], row[5], row[6]});
  state.values = tensor::to_tensor(file.at("values"));
  state.m = tensor::to_tensor(file.at("m"));
  state.v = tensor::to_tensor(file.at("v"));
  if (const auto* best = file.find("best_values")) state.best_values = tensor::to_tensor(*best);
  if (const auto* average = file.find("average")) state.average = tensor::to_tensor(*average);
  return state;
}

}  // namespace lowrank::train
