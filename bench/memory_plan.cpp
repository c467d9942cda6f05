// The memory plan against the measured peak: each case in a process of its own, forty real training steps and a validation.
//   lowrank_memory_plan MODEL [DATA [METHOD]]   MODEL: a Hugging Face folder; DATA "" or none: 256 random texts of 64 tokens
#include <cstdio>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lowrank/base/random.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/text/tokenizer.h"
#include "lowrank/train/train.h"

namespace {

using namespace lowrank;

data::Split random_split(int64_t rows, int64_t length) {
  data::Split split;
  for (data::Dataset* part : {&split.train, &split.validation}) {
    part->classes = 4;
    for (int64_t i = 0; i < rows; ++i) {
      RandomStream stream(1, "tokens", 0, static_cast<uint64_t>(i));
      data::Example example{.labels = {i % 4}, .id = i};
      for (int64_t t = 0; t < length; ++t) example.ids.push_back(static_cast<int32_t>(1000 + stream.below(20000)));
      part->examples.push_back(std::move(example));
    }
  }
  split.labels.names = {"a", "b", "c", "d"};
  return split;
}

data::Split split_of(const std::string& model, const std::string& file) {
  if (file.empty()) return random_split(256, 64);
  auto tokenizer = text::Tokenizer::load(model);
  data::DataOptions options;
  options.data = file;
  options.leakage = "drop";
  return data::prepare(options, tokenizer);
}

void run_case(const std::string& model, const std::string& file, const std::string& method, int64_t batch_size) {
  tensor::initialise_runtime(2);
  const data::Split split = split_of(model, file);
  train::TrainRequest request{.model = model, .split = &split, .method = method};
  request.options.batch_size = batch_size;
  request.options.max_steps = 40;
  request.options.dtype = "float32";
  request.options.device = "cpu";
  const train::TrainResult result = train::train(request);
  const auto megabytes = [](int64_t bytes) { return static_cast<double>(bytes) / 1048576.0; };
  const double planned = megabytes(result.plan.peak()), measured = megabytes(result.peak_bytes);
  fmt::print(
      "{:6} batch {:3}, {:5} tokens: process {:6.1f} + optimiser {:6.1f} + activations {:6.1f} + holes {:5.1f} = {:7.1f} MB, measured "
      "{:7.1f} MB, {:+.1f} %; {:.0f} tokens/s\n",
      method, batch_size, result.plan.batch_units, megabytes(result.plan.process), megabytes(result.plan.optimiser),
      megabytes(result.plan.activations), megabytes(result.plan.holes), planned, measured, 100 * (planned / measured - 1),
      result.units_per_second);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return fmt::print("usage: {} MODEL [DATA [METHOD]]\n", argv[0]), 64;
  for (const char* method : {"lora", "dora", "lokr", "none", "full"}) {
    if (argc > 3 && method != std::string_view(argv[3])) continue;
    for (const int64_t batch_size : {8, 32}) {
      std::fflush(stdout);
      const pid_t child = ::fork();
      if (child == 0) {
        run_case(argv[1], argc > 2 ? argv[2] : "", method, batch_size);
        std::fflush(stdout);
        ::_exit(0);
      }
      ::waitpid(child, nullptr, 0);
    }
  }
}
