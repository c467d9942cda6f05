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
# run_suite <preset>: ctest of one build, its counts added up.
run_suite() {
  local log=build/$1/ctest.log counts
  say "testing ($1)"
  ctest --preset "$1" --parallel 2 2>&1 | tee "$log" | grep -vE '^ *(Start|[0-9]+/[0-9]+ Test .*Passed)' || status=1
  counts=$(sed -nE 's/^[0-9]+% tests passed, ([0-9]+) tests failed out of ([0-9]+)$/\1 \2/p' "$log")
  [ -n "$counts" ] || { echo "no test ran in $1"; status=1; return; }
  failed=$((failed + ${counts% *}))
  passed=$((passed + ${counts#* } - ${counts% *}))
}
run_suite release
run_suite core-asan
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] || status=1
echo "$passed passed, $failed failed"
exit $status
