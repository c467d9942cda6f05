#include "lowrank/train/options.h"

namespace lowrank::train {

void declare(OptionTable& table, TrainOptions& options) {
  const std::string training = "Training", machine = "Machine";
  const double many = 1e12;
  table.add("learning-rate", options.learning_rate, "peak learning rate; 0: the method's own").range(0, 10).group(training);
  table.add("epochs", options.epochs, "passes over the training rows").range(1, many).group(training);
  table.add("max-steps", options.max_steps, "end after so many optimiser steps; 0: as --epochs says").range(0, many).group(training);
  table.add("batch-size", options.batch_size, "rows a forward pass").range(1, many).group(training);
  table.add("gradient-accumulation", options.gradient_accumulation, "forward passes an optimiser step; exact for every loss")
      .range(1, many)
      .group(training);
  table.add("warmup-fraction", options.warmup_fraction, "share of the steps with rising learning rate").range(0, 1).group(training);
  table.add("schedule", options.schedule, "learning rate after the warm-up").choices({"constant", "linear", "cosine"}).group(training);
  table.add("weight-decay", options.weight_decay, "decoupled; not on biases, norms and magnitudes").range(0, 10).group(training);
  table.add("max-grad-norm", options.max_grad_norm, "clip the gradient's length to this; 0: never").range(0, many).group(training);
  table.add("label-smoothing", options.label_smoothing, "share of each label that is spread over all, of single-label classification")
      .range(0, 0.9)
      .group(training);
  table.add("ema", options.ema, "decay of the average over steps that is validated and saved, such as 0.999; 0: the last values")
      .range(0, 0.999999)
      .group(training);
  table.add("seed", options.seed, "of the order of rows, new tensors and dropout").range(0, many).group(training);
  table.add("validate-every", options.validate_every, "epochs between validations; 0: only at the end").range(0, many).group(training);
  table.add("patience", options.patience, "stop after so many validations without a better one; 0: never").range(0, many).group(training);
  table.add("best-by", options.best_by, "which checkpoint is best: highest validation score or lowest loss")
      .choices({"score", "loss"})
      .group(training);
  table.add("save-every", options.save_every, "seconds between checkpoints for --resume; 0: after every step")
      .range(0, many)
      .group(training);
  table.add("dtype", options.dtype, "of the frozen weights and products; adapters are always float32")
      .choices({"auto", "float32", "bfloat16"})
      .group(machine);
  table.add("device", options.device, "auto, cpu, cuda or cuda:N").group(machine);
  table.add("threads", options.threads, "of the CPU; 0: one a processor").range(0, 4096).group(machine);
}

Json numeric_options(const TrainOptions& options) {
  Json result = resolved(options);
  for (const char* key : {"save-every", "threads", "device", "dtype"}) result.erase(key);
  return result;
}

}  // namespace lowrank::train
