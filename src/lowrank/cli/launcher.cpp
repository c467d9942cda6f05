// lowrank, before libtorch is there: sets what libtorch reads while it is loaded, then becomes lowrank-main, which lies beside it.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <unistd.h>

// libtorch's threads wait for one another in busy loops of some milliseconds. With other work on the machine each wait costs a time
// slice, and two threads are slower than one; threads that sleep at once are slow on a quiet machine. So: short loops, then sleep.
int main(int /*argc*/, char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) ::setenv("GOMP_SPINCOUNT", "20000", /*overwrite=*/0);
  std::error_code failed;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", failed).parent_path() / "lowrank-main";
  ::execv(program.c_str(), argv);
  std::perror(("error (io): " + program.string() + ": expected the program beside its launcher").c_str());
  return 6;  // as exit_status(ErrorKind::io)
}
