#!/usr/bin/env bash
# Coverage-guided fuzzing with libFuzzer, on a stable toolchain. Every target of fuzz/ runs for a bounded time, two at a
# time, from its seeds, the findings of the past and its dictionary, with limits on memory and on the time of one input.
# Prints a table, and fails where anything is found; the input is kept and the line that replays it is printed.
#
#   scripts/fuzz.sh                         all targets, about 120 seconds of CPU time together
#   scripts/fuzz.sh --seconds 141           so many seconds each; with 17 targets, 40 minutes together
#   scripts/fuzz.sh json_item frame         these only
#   scripts/fuzz.sh --self-test             finds a planted bug, or fails
#   scripts/fuzz.sh --replay TARGET FILE    runs one input
#   --findings DIR                          where to keep findings; fuzz/findings by default
#   --corpus DIR                            keep what is learned there and start from it; a temporary folder by default
#   --seed N                                the seed of every run, 1 by default; several targets at a time still differ
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

seconds=
self_test=no
replay=no
findings=$root/fuzz/findings
corpus=
seed=1
targets=()
while (($#)); do
    case $1 in
    --seconds) seconds=$2 && shift ;;
    --findings) mkdir -p "$2" && findings=$(cd "$2" && pwd) && shift ;;
    --corpus) mkdir -p "$2" && corpus=$(cd "$2" && pwd) && shift ;;
    --seed) seed=$2 && shift ;;
    --self-test) self_test=yes ;;
    --replay) replay=yes ;;
    -*) sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed '$d' >&2 && exit 2 ;;
    *) targets+=("$1") ;;
    esac
    shift
done

if ! command -v c++ >/dev/null && ! command -v g++ >/dev/null && ! command -v clang++ >/dev/null; then
    echo "skipped: coverage-guided fuzzing, because libFuzzer needs a C++ compiler and there is none"
    exit 0
fi
host=$(rustc -vV | sed -n 's/^host: //p')
if [[ $host != *-linux-gnu ]]; then
    echo "skipped: coverage-guided fuzzing, which is set up for Linux only"
    exit 0
fi

# The flags that cargo-fuzz sets, without those that need nightly. With --target they are for the targets and what they
# are made of, not for build scripts.
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
target_dir=${CARGO_TARGET_DIR:-$root/target}/fuzz
binaries=$target_dir/$host/release

# The versions that the workspace has pinned; libFuzzer is added to them.
if [[ ! -e fuzz/Cargo.lock || Cargo.lock -nt fuzz/Cargo.lock ]]; then
    cp Cargo.lock fuzz/Cargo.lock
fi
build() {
    local since=$SECONDS
    (cd fuzz && RUSTFLAGS=$flags CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$target_dir \
        cargo build --quiet --release --target "$host" "$@")
    echo "built in $((SECONDS - since)) s"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One input that takes longer or more memory than these is a finding; the targets bound what they allocate by
# themselves, and more tightly.
limits=(-timeout=30 -rss_limit_mb=2048 -print_final_stats=1 -max_len=16384 "-seed=$seed")

# fuzz TARGET SECONDS: one run; its log, its times and its exit code stay in $work.
fuzz() {
    local name=$1 folder=$work/$1
    local arguments=("${limits[@]}" "-max_total_time=$2" "-artifact_prefix=$findings/$name-")
    mkdir -p "$folder/corpus"
    [[ -e fuzz/dictionaries/$name.dict ]] && arguments+=("-dict=fuzz/dictionaries/$name.dict")
    local corpora=("${corpus:-$work}/$name/corpus" "$work/seeds/$name")
    mkdir -p "${corpora[@]}"
    [[ -d fuzz/regressions/$name ]] && corpora+=("fuzz/regressions/$name")
    local code=0 TIMEFORMAT='%U %S'
    { time "$binaries/$name" "${arguments[@]}" "${corpora[@]}" >"$folder/log" 2>&1 || code=$?; } \
        2>"$folder/time"
    echo "$code" >"$folder/code"
}

if [[ $self_test == yes ]]; then
    build --bin self_test
    findings=$work/findings
    mkdir -p "$findings"
    fuzz self_test "${seconds:-60}"
    if [[ $(cat "$work/self_test/code") == 0 ]] || ! grep -q "the planted bug" "$work/self_test/log"; then
        tail -n 20 "$work/self_test/log"
        echo "FAILED: the planted bug was not found"
        exit 1
    fi
    executions=$(sed -nE 's/^stat::number_of_executed_units: *//p' "$work/self_test/log")
    echo "the planted bug was found${executions:+ after $executions executions}"
    exit 0
fi

if [[ $replay == yes ]]; then
    build --bin "${targets[0]}"
    "$binaries/${targets[0]}" "${limits[@]}" "${targets[1]}"
    exit 0
fi

all=()
for path in fuzz/fuzz_targets/*.rs; do
    name=$(basename "$path" .rs)
    [[ $name == self_test ]] || all+=("$name")
done
((${#targets[@]})) || targets=("${all[@]}")
for name in "${targets[@]}"; do
    if [[ " ${all[*]} " != *" $name "* ]]; then
        echo "there is no target '$name'; there are: ${all[*]}" >&2
        exit 2
    fi
done
seconds=${seconds:-$(((120 + ${#targets[@]} / 2) / ${#targets[@]}))}

build --bins
for name in "${targets[@]}"; do
    # libFuzzer says on standard error which sanitizers it runs without.
    if ! ESKER_FUZZ_SEEDS=$work/seeds "$binaries/$name" >"$work/seeds.log" 2>&1; then
        tail -n 40 "$work/seeds.log"
        echo "FAILED: $name writes no seeds" >&2
        exit 1
    fi
done
mkdir -p "$findings"
echo "fuzzing ${#targets[@]} targets for $seconds s each, two at a time, seed $seed, at $(git rev-parse --short HEAD 2>/dev/null || echo "no commit")"
since=$SECONDS
for name in "${targets[@]}"; do
    while (($(jobs -rp | wc -l) >= 2)); do wait -n || true; done
    fuzz "$name" "$seconds" &
done
wait
elapsed=$((SECONDS - since))

# value NAME LOG: one of libFuzzer's final figures.
value() { sed -nE "s/^stat::$1: *([0-9]+).*/\1/p" "$2" | tail -n 1; }

failed=0
total_executions=0
total_cpu=0
printf '%-20s %12s %8s %8s %8s %8s %9s\n' target executions edges corpus 'CPU s' 'RSS MB' findings
for name in "${targets[@]}"; do
    folder=$work/$name
    last=$(grep -E '^#[0-9]+.* cov: ' "$folder/log" | tail -n 1 || true)
    edges=$(sed -nE 's/.* cov: ([0-9]+).*/\1/p' <<<"$last")
    files=$(sed -nE 's/.* corp: ([0-9]+).*/\1/p' <<<"$last")
    executions=$(value number_of_executed_units "$folder/log")
    [[ -n $executions ]] || executions=$(sed -nE 's/^#([0-9]+).*/\1/p' <<<"$last")
    cpu=$(tail -n 1 "$folder/time" | awk '{printf "%.1f", $1 + $2}')
    found=0
    [[ $(cat "$folder/code") == 0 ]] || found=1
    printf '%-20s %12s %8s %8s %8s %8s %9s\n' "$name" "${executions:-0}" "${edges:-0}" "${files:-0}" "$cpu" \
        "$(value peak_rss_mb "$folder/log")" "$found"
    failed=$((failed + found))
    total_executions=$((total_executions + ${executions:-0}))
    total_cpu=$(awk -v a="$total_cpu" -v b="$cpu" 'BEGIN { printf "%.1f", a + b }')
done
echo "$total_executions executions in $total_cpu s of CPU time ($elapsed s), $failed targets with findings"

for name in "${targets[@]}"; do
    [[ $(cat "$work/$name/code") == 0 ]] && continue
    echo
    echo "==== $name"
    grep -vE '^#[0-9]+|^stat::|^INFO|^WARNING|NEW_FUNC' "$work/$name/log" | tail -n 40 | cut -c1-1000
    for input in "$findings/$name"-*; do
        [[ -e $input ]] && echo "replay: scripts/fuzz.sh --replay $name $input"
    done
done
# A target that has not run at all has no figures to be proud of.
((total_executions > 0 && failed == 0))
