// What kill_test.cpp runs and kills: trains the toy model in a folder, going on from whatever is there.
//   lowrank_train_child MODEL OUT
#include "train/toy.h"

#include "lowrank/tensor/runtime.h"
#include "lowrank/train/run_folder.h"
#include "lowrank/train/train.h"

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  const std::filesystem::path out = argv[2];
  lowrank::tensor::initialise_runtime(1);
  if (lowrank::train::is_finished(out)) return 0;
  const auto split = lowrank::test::toy_split(lowrank::data::Task::single_label, 120);
  auto request = lowrank::test::toy_request(argv[1], split, "dora");
  request.options.epochs = 24;  // 360 steps
  request.options.validate_every = 2.0;
  request.options.save_every = 0;
  request.out = out;
  request.resume = true;
  return lowrank::train::train(request).outcome == lowrank::train::Outcome::finished ? 0 : 1;
}
