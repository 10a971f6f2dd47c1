#!/usr/bin/env bash
# Line and branch coverage of the code that reads and writes Esker's files, by the unit tests of the crates below. Fails
# if fewer branches than the floor are covered (95%). What counts stands in scripts/coverage.py.
#
#     scripts/coverage.sh [--floor PERCENT] [--missing] [--missing-regions]
#
# Branch coverage is an unstable option of rustc, so RUSTC_BOOTSTRAP turns it on. The reports need llvm-cov and
# llvm-profdata of an LLVM that reads this compiler's format: those of the toolchain (component llvm-tools), version 19
# or newer of the system, or Debian's llvm-19, which is installed if this runs as root. Without any of them the script
# says so and succeeds: there is nothing to measure with.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(esker-base esker-vfs esker-wal esker-manifest esker-sstable esker)
target=${ESKER_COVERAGE_TARGET_DIR:-${CARGO_TARGET_DIR:-$PWD/target}/coverage}
# The oldest LLVM that reads what rustc 1.95 writes.
llvm_min=19

# find_tool NAME: the path of an LLVM tool that is new enough.
find_tool() {
    local tool version
    tool=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/$1
    if [[ -x $tool ]]; then
        echo "$tool"
        return
    fi
    for tool in "$1-$llvm_min" "$1-20" "$1-21" "$1"; do
        version=$("$tool" --version 2>/dev/null | sed -nE 's/.*LLVM version ([0-9]+).*/\1/p' | head -n 1) || true
        if [[ -n $version && $version -ge $llvm_min ]]; then
            command -v "$tool"
            return
        fi
    done
    return 1
}

if ! find_tool llvm-cov >/dev/null && command -v apt-get >/dev/null && [[ $(id -u) == 0 ]]; then
    echo "installing llvm-$llvm_min"
    { apt-get install --quiet=2 --yes --no-install-recommends "llvm-$llvm_min" ||
        { apt-get update --quiet=2 &&
            apt-get install --quiet=2 --yes --no-install-recommends "llvm-$llvm_min"; }; } >/dev/null || true
fi
if ! cov=$(find_tool llvm-cov) || ! profdata=$(find_tool llvm-profdata); then
    echo "skipped: no llvm-cov and llvm-profdata of LLVM $llvm_min or newer; rustup component add llvm-tools, or" \
        "apt-get install llvm-$llvm_min"
    exit 0
fi

export RUSTFLAGS="-Cinstrument-coverage -Zcoverage-options=branch" RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR=$target CARGO_INCREMENTAL=0
mkdir -p "$target"
work=$(mktemp -d "$target/run.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Build scripts and macros are instrumented too; what they leave is not wanted.
export LLVM_PROFILE_FILE=$work/build/%p.profraw
began=$SECONDS
cargo test --locked --lib --no-run "${packages[@]/#/--package=}" --message-format=json >"$work/build.json"
rm -rf "$work/build"
mapfile -t tests < <(python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["profile"]["test"]:
        print(message["executable"], message["manifest_path"])' <"$work/build.json")
echo "built in $((SECONDS - began)) s"

objects=()
began=$SECONDS
for test in "${tests[@]}"; do
    read -r executable manifest <<<"$test"
    name=$(basename "$executable")
    objects+=(--object "$executable")
    # As cargo runs it: in its package's directory.
    if ! (cd "$(dirname "$manifest")" &&
        LLVM_PROFILE_FILE=$work/$name-%p.profraw "$executable" --quiet >"$work/$name.log" 2>&1); then
        cat "$work/$name.log"
        exit 1
    fi
done
echo "ran ${#tests[@]} sets of tests in $((SECONDS - began)) s"

"$profdata" merge --sparse --output="$work/merged.profdata" "$work"/*.profraw
"$cov" export --instr-profile="$work/merged.profdata" "${objects[@]}" >"$work/coverage.json"
python3 scripts/coverage.py "$work/coverage.json" "$@"
