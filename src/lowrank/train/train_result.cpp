#include "lowrank/base/error.h"
#include "lowrank/train/trainer.h"

namespace lowrank::train {

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::finished: return "finished";
    case Outcome::early_stopped: return "early_stopped";
    case Outcome::cancelled: return "cancelled";
  }
  fail(ErrorKind::internal, "outcome", "expected one of three");
}

Json TrainResult::to_json() const {
  Json list = Json::array();
  for (const Validation& one : validations) {
    list.push_back({{"step", one.step},
                    {"epoch", one.epoch},
                    {"loss", one.loss},
                    {score_name, one.score},
                    {"train_loss", one.train_loss},
                    {"seconds", one.seconds}});
  }
  return {{"outcome", to_string(outcome)},
          {"validations", list},
          {"best", best},
          {"steps", steps},
          {"tokens", tokens},
          {"loss", loss},
          {"seconds", seconds},
          {"tokens_per_second", tokens_per_second},
          {"peak_bytes", peak_bytes},
          {"trained_parameters", trained_parameters},
          {"learning_rate", learning_rate},
          {"memory_plan", plan.to_json()},
          {"saved", saved.string()}};
}

}  // namespace lowrank::train
