#!/bin/sh
# Builds and runs the tests: release (everything), check (clang: all but the real model under ASan and UBSan, fuzzers for 30 s each)
# and tsan (the threaded folders under TSan). --preset NAME runs one of them. Safe to repeat.
set -eu
cd "$(dirname "$0")"

presets="release check tsan"
threaded="base parallel data ops nn models engine train"  # folders whose tests run under TSan
while [ $# -gt 0 ]; do
  case "$1" in
    --preset)
      case "${2:-}" in
        release | check | tsan) presets=$2 ;;
        *) echo "test: --preset must be one of release, check, tsan, not '${2:-}'" >&2; exit 2 ;;
      esac
      shift 2 ;;
    -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
    *) echo "test: unknown argument '$1' (there is --preset NAME)" >&2; exit 2 ;;
  esac
done

./setup.sh --packages
logs=build/test-logs
rm -rf "$logs"
mkdir -p "$logs"
jobs=$(nproc)

for preset in $presets; do
  echo "== $preset"
  started=$(date +%s)
  cmake --preset "$preset" >/dev/null
  targets=
  only=
  if [ "$preset" = tsan ]; then
    listed=$(ctest --test-dir build/tsan -N | sed -n 's/^ *Test *#[0-9]*: //p')
    for folder in $threaded; do
      echo "$listed" | grep -qx "$folder" || continue
      targets="$targets ${folder}_test"
      only="$only${only:+|}$folder"
    done
    targets="--target$targets"
    only="-R ^($only)\$"
  fi
  # shellcheck disable=SC2086  # the lists are meant to be split
  cmake --build --preset "$preset" $targets
  built=$(date +%s)
  # shellcheck disable=SC2086
  ctest --preset "$preset" -j "$jobs" --timeout 900 --output-log "$logs/$preset" $only || true
  echo "== $preset: built in $((built - started)) s, tested in $(($(date +%s) - built)) s"
  # A test of an instruction set that this processor lacks is skipped by name.
  sed -n 's/^\[  SKIPPED \] \([A-Za-z].*\) (.*ms)$/\1/p' "build/$preset/Testing/Temporary/LastTest.log" |
    sort -u >"$logs/$preset-skipped"
  echo "== $preset: $(wc -l <"$logs/$preset-skipped") cases skipped, named in $logs/$preset-skipped"
done

# "98% tests passed, 1 tests failed out of 50", once a preset.
sed -n 's/^.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\).*$/\1 \2/p' "$logs"/* >"$logs/counts"
awk -v runs="$(echo "$presets" | wc -w)" '
  { failed += $1; all += $2; seen++ }
  END {
    printf "%d passed, %d failed\n", all - failed, failed
    exit !(seen == runs && all > 0 && failed == 0)
  }' "$logs/counts"
