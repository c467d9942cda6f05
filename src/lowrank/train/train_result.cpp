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

Json RunResult::to_json() const {
  Json list = Json::array();
  for (const Validation& one : validations) {
    Json entry = one.figures;
    if (!score_name.empty()) entry[score_name] = one.score;
    entry.update({{"step", one.step}, {"epoch", one.epoch}, {"loss", one.loss}, {"train_loss", one.train_loss}, {"seconds", one.seconds}});
    list.push_back(std::move(entry));
  }
  Json json = {{"outcome", to_string(outcome)},
               {"validations", list},
               {"best", best},
               {"steps", steps},
               {unit, units},
               {"loss", loss},
               {"seconds", seconds},
               {unit + "_per_second", units_per_second},
               {"peak_bytes", peak_bytes},
               {"trained_parameters", trained_parameters},
               {"learning_rate", learning_rate},
               {"memory_plan", plan.to_json()},
               {"saved", saved.string()}};
  json.update(notes);
  return json;
}

}  // namespace lowrank::train
