# make demo       set up, build, compare methods on this machine's package descriptions, print the report's path
# make demo-images  the same for pictures: which method adapts the emoji base best, to another hand and to new subjects
# make test       set up, build, run every test
# make build      the program at build/lowrank
# make bench      ratios against the peer program, written to bench/results/
# make bench-images   the same for image training, against diffusers with PEFT and LyCORIS
# make goldens    regenerate tests/golden from the reference programs (make reference installs them)
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: setup build test demo demo-images bench bench-images reference goldens format clean

setup:
	@tools/bootstrap.sh

build: setup
	@mkdir -p build && cmake --preset release > build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@echo "==> building"
	@cmake --build --preset release --target lowrank
	@ln -sf release/src/lowrank/cli/lowrank build/lowrank

test: setup
	@tools/run_tests.sh

demo: build
	@tools/demo.sh

demo-images: build
	@tools/demo_images.sh

bench: setup reference
	@tools/bench.sh

bench-images: setup reference
	@tools/bench.sh --images

reference:
	@tools/bootstrap.sh reference

goldens: reference
	@tools/make_goldens.sh

format:
	@clang-format-16 -i $$(git ls-files '*.cpp' '*.h')

clean:
	rm -rf build
