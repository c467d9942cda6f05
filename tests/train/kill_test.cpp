// SIGKILL at random moments, 20 times, must not change a byte of the result.
#include <chrono>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>

#include "support/temp_dir.h"
#include "train/toy.h"

#include "lowrank/base/file.h"

namespace lowrank::train {
namespace {

using Clock = std::chrono::steady_clock;

pid_t start_child(const std::filesystem::path& model, const std::filesystem::path& out) {
  std::string program = LOWRANK_TRAIN_CHILD, first = model.string(), second = out.string();
  char* arguments[] = {program.data(), first.data(), second.data(), nullptr};
  pid_t child = 0;
  EXPECT_EQ(::posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environ), 0);
  return child;
}

/// Exit status, or -1 after a signal.
int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Changes whenever the checkpoint is replaced.
ino_t checkpoint_id(const std::filesystem::path& out) {
  struct stat facts {};
  return ::stat((out / "checkpoint.safetensors").c_str(), &facts) == 0 ? facts.st_ino : 0;
}

/// Waits until the child has replaced its checkpoint `count` times. False when it ended before.
bool await_checkpoints(pid_t child, const std::filesystem::path& out, uint64_t count) {
  ino_t last = checkpoint_id(out);
  while (count > 0) {
    if (::waitpid(child, nullptr, WNOHANG) == child) return false;
    const ino_t now = checkpoint_id(out);
    if (now != last) --count;
    last = now;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

std::string adapter_bytes(const std::filesystem::path& out) {
  return read_file(out / "adapter/adapter_model.safetensors") + read_file(out / "adapter/adapter_config.json") +
         read_file(out / "adapter/lowrank.json");
}

TEST(KillTest, TwentyKillsAtRandomMomentsLeaveTheBytesOfTheUndisturbedRun) {
  const test::TempDir folder;
  test::write_toy_model(folder / "model");
  ASSERT_EQ(wait_for(start_child(folder / "model", folder / "undisturbed")), 0);

  RandomStream random(static_cast<uint64_t>(Clock::now().time_since_epoch().count()), "kill");
  const auto out = folder / "killed";
  int kills_in_training = 0;
  for (int kill = 0; kill < 20; ++kill) {
    const pid_t child = start_child(folder / "model", out);
    // Every fourth at any moment of the start, the others somewhere inside or between steps, saves and validations.
    const bool while_starting = kill % 4 == 0;
    ASSERT_TRUE(while_starting || await_checkpoints(child, out, 1 + random.below(12))) << "ended before kill " << kill;
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(while_starting ? 400'000 : 8'000)));
    ::kill(child, SIGKILL);
    ASSERT_EQ(wait_for(child), -1) << "ended before kill " << kill;
    kills_in_training += !while_starting;
  }
  EXPECT_EQ(kills_in_training, 15);
  ASSERT_EQ(wait_for(start_child(folder / "model", out)), 0);
  EXPECT_EQ(adapter_bytes(out), adapter_bytes(folder / "undisturbed"));
}

}  // namespace
}  // namespace lowrank::train
