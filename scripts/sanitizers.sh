#!/usr/bin/env bash
# The tests that use threads under the thread sanitizer, and those of the crates with unsafe code under the address
# sanitizer.
#
#     scripts/sanitizers.sh            a few minutes of CPU, building included
#     scripts/sanitizers.sh --long     the table layer too, the engine under both, every test with threads ten times
#
# First each sanitizer has to find a bug that is planted for it, and to accept the same program without the bug: a check
# that cannot fail proves nothing. Where a sanitizer is missing, a line says so and the rest goes on.
#
# The flags are unstable ones, which RUSTC_BOOTSTRAP=1 lets any compiler take; the runtimes come with stable Rust. `std`
# is the precompiled one, which is not instrumented. So a lock of `std` that had to wait is not seen by the thread
# sanitizer; the product's locks are parking_lot's, which are built here. tsan_suppressions.txt names what is left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

rounds=1
long=
case ${1:-} in
    '') ;;
    --long) long=1 rounds=10 ;;
    *) echo "usage: scripts/sanitizers.sh [--long]" >&2; exit 2 ;;
esac

target=x86_64-unknown-linux-gnu
if [[ $(rustc -vV | sed -n 's/^host: //p') != "$target" ]]; then
    echo "skipped: the sanitizers are run on $target only"
    exit 0
fi
libraries=$(rustc --print sysroot)/lib/rustlib/$target/lib
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export RUSTC_BOOTSTRAP=1 CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never} CARGO_INCREMENTAL=0
target_root=${CARGO_TARGET_DIR:-$root/target}/sanitizers
export TSAN_OPTIONS="suppressions=$root/scripts/tsan_suppressions.txt halt_on_error=1 exitcode=66 history_size=7"
export ASAN_OPTIONS="detect_leaks=1 detect_stack_use_after_return=1 exitcode=66"

# available NAME RUNTIME: whether the compiler has that sanitizer's runtime.
available() {
    compgen -G "$libraries/librustc-*_rt.$2.a" >/dev/null && return
    echo "skipped: this compiler comes without the $1 sanitizer"
    return 1
}

# The suppressions are matched against names, which somebody has to look up.
symbolizer=$(compgen -c llvm-symbolizer | sort -V | tail -n 1 || true)
symbolizer=${symbolizer:+$(command -v "$symbolizer")}
has_symbolizer() {
    [[ -n $symbolizer ]] && return
    echo "skipped: the thread sanitizer needs llvm-symbolizer"
    return 1
}

# With esker_asan the memtable takes no memory from the system past the address sanitizer.
flags() {
    echo "-Zsanitizer=$1 -Cunsafe-allow-abi-mismatch=sanitizer${2:+ --cfg $2}"
}

# planted NAME REPORT: the program on standard input is reported as REPORT with an argument, and passes without.
planted() {
    local source=$work/planted_$1.rs program=$work/planted_$1 code=0
    cat >"$source"
    # shellcheck disable=SC2046
    rustc --edition 2024 --target "$target" -Cdebuginfo=line-tables-only $(flags "$1") -o "$program" "$source"
    "$program" >"$work/log" 2>&1 || { cat "$work/log"; echo "the $1 sanitizer reports a correct program"; return 1; }
    "$program" bug >"$work/log" 2>&1 || code=$?
    if [[ $code != 66 ]] || ! grep -q "$2" "$work/log"; then
        cat "$work/log"
        echo "the $1 sanitizer does not find the planted bug (exit code $code)"
        return 1
    fi
    echo "$1 sanitizer: finds the planted bug, $2"
}

# tests NAME CFG PACKAGE...: builds the unit tests of these packages; `program PACKAGE` then prints where they are.
tests() {
    local name=$1 rust_flags packages=() package
    rust_flags=$(flags "$1" "$2")
    shift 2
    for package in "$@"; do packages+=(--package "$package"); done
    CARGO_TARGET_DIR=$target_root/$name RUSTFLAGS=$rust_flags \
        cargo test --locked --quiet --no-run --message-format short --target "$target" --lib "${packages[@]}"
    CARGO_TARGET_DIR=$target_root/$name RUSTFLAGS=$rust_flags \
        cargo test --locked --no-run --target "$target" --lib "${packages[@]}" 2>"$work/programs" ||
        { cat "$work/programs"; return 1; }
}

# unit PACKAGE ARGUMENT...: runs that package's unit tests; at least one must match.
unit() {
    local name=${1//-/_} program
    shift
    program=$(sed -nE "s|.*\((.*/$name-[0-9a-f]+)\).*|\1|p" "$work/programs")
    if ! timeout 1200 "$program" --test-threads 1 "$@" >"$work/log" 2>&1; then
        # The report comes first; what follows it are the harness's own lines.
        grep -v ' \.\.\. ok$' "$work/log" | head -n 200 || true
        echo "FAILED: $name $*"
        return 1
    fi
    if ! grep -q '^test result: ok. [1-9]' "$work/log"; then
        echo "FAILED: $name has no test named $*"
        return 1
    fi
    sed -nE "s/^test result: ok\. ([0-9]+ passed).*(finished in .*)/$name: \1, \2/p" "$work/log"
}

# Tests of the engine with threads, its own or the test's.
engine=(tests::stress tests::submit tests::background snapshot transaction --skip shuttle)

if available thread tsan && has_symbolizer; then
    TSAN_OPTIONS+=" external_symbolizer_path=$symbolizer"
    planted thread "data race" <<'RUST'
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering::*};
static PLACE: Place = Place(UnsafeCell::new(0), AtomicUsize::new(0));
struct Place(UnsafeCell<u64>, AtomicUsize);
unsafe impl Sync for Place {}
fn main() {
    let (store, load) = if std::env::args().len() > 1 { (Relaxed, Relaxed) } else { (Release, Acquire) };
    let writer = std::thread::spawn(move || {
        unsafe { *PLACE.0.get() = 7 };
        PLACE.1.store(1, store);
    });
    while PLACE.1.load(load) == 0 { std::hint::spin_loop() }
    assert_eq!(unsafe { *PLACE.0.get() }, 7);
    writer.join().unwrap();
}
RUST
    packages=(esker-memtable esker)
    [[ -z $long ]] || packages+=(esker-table)
    tests thread '' "${packages[@]}"
    for _ in $(seq "$rounds"); do
        unit esker-memtable readers_beside a_cursor_outlives
        unit esker "${engine[@]}"
        [[ -z $long ]] || unit esker-table concurrency
    done
fi

if available address asan; then
    planted address "heap-use-after-free" <<'RUST'
fn main() {
    let place = Box::into_raw(Box::new(std::env::args().len()));
    let bug = unsafe { *place } > 1;
    drop(unsafe { Box::from_raw(place) });
    if bug { println!("{}", unsafe { std::ptr::read_volatile(place) }) }
}
RUST
    packages=(esker-memtable esker-vfs esker-wal esker-sstable)
    [[ -z $long ]] || packages+=(esker esker-table)
    tests address esker_asan "${packages[@]}"
    for package in "${packages[@]}"; do
        case $package in
            esker) unit esker "${engine[@]}" ;;
            *) unit "$package" ;;
        esac
    done
fi
