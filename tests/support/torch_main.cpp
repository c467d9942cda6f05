// main of every torch test program: two threads, deterministic algorithms.
#include <gtest/gtest.h>

#include "lowrank/tensor/runtime.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  lowrank::tensor::initialise_runtime(2);
  return RUN_ALL_TESTS();
}
