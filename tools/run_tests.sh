#!/usr/bin/env bash
# Builds everything and runs every test: unit, law and golden tests, the torch-free layers again under sanitizers, the
# installed package from examples/consumer, and the layer and size checks. Ends with a line "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."
# Two test programs of two threads share the machine: waiting threads must sleep, not spin.
export OMP_WAIT_POLICY=passive
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

say "building (release)"
mkdir -p build
cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
cmake --build --preset release
ln -sf release/src/lowrank/cli/lowrank build/lowrank

say "building the torch-free layers with address and undefined-behaviour sanitizers"
cmake --preset core-asan >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
cmake --build --preset core-asan

say "installing, and building examples/consumer against the package"
cmake --install build/release --prefix build/package >/dev/null
cmake -S examples/consumer -B build/consumer -G Ninja -DCMAKE_CXX_COMPILER=clang++-16 -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_PREFIX_PATH="$PWD/build/package" >/dev/null
cmake --build build/consumer
build/consumer/consumer

status=0
passed=0
failed=0
# run_suite <preset>: ctest of one build; the tests inside the GoogleTest programs are counted one by one.
run_suite() {
  local log=build/$1/ctest.log
  say "testing ($1)"
  ctest --preset "$1" --verbose >"$log" 2>&1 || status=1
  grep -E 'Test +#|tests passed|\[  FAILED|: Failure|^FAIL|Error' "$log" | grep -v ' Start ' || true
  local own other
  own=$(sed -nE 's/^[0-9]+: \[  PASSED  \] ([0-9]+) tests?\.$/\1/p' "$log" | paste -sd+ - | bc)
  other=$(sed -nE 's/^[0-9]+: Ran ([0-9]+) tests? in .*/\1/p' "$log" | paste -sd+ - | bc)
  passed=$((passed + ${own:-0} + ${other:-0}))
  failed=$((failed + $(grep -cE '^[0-9]+: \[  FAILED  \] [A-Za-z]|^[0-9]+: (FAIL|ERROR):|\*\*\*(Failed|Exception|Timeout|Not Run)' "$log" || true)))
}
run_suite release
run_suite core-asan
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] || status=1
echo "$passed passed, $failed failed"
exit $status
