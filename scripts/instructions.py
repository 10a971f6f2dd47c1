#!/usr/bin/env python3
"""Counts the instructions of hot operations and compares them with the figures in benches/instructions.json.

    instructions.py                  # fails if an operation takes more than 3% more instructions than committed
    instructions.py --update         # writes the figures of this tree
    instructions.py get_miss put     # these operations only
    instructions.py --self-test      # proves that a planted slowdown is found
    instructions.py --binary PATH    # without building

Each operation of benches/src/bin/instructions.rs runs n and 2n times under valgrind's cachegrind; the difference of the
two, divided by n, is what one operation costs, without opening and filling the database. Instructions do not depend on
the neighbours of this machine, nor, at the same compiler, much on the machine: what the C library and the crates choose
by the processor's abilities is held still by GLIBC_TUNABLES, and figures of another compiler, or of a processor without
the abilities that they were taken with, are printed and not judged. What the kernel does is not counted.

valgrind is installed by apt-get if this runs as root on Debian. Where there is none the script says so and succeeds.
Standard library only.
"""

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIGURES = os.path.join(ROOT, "benches", "instructions.json")

# Name: (what the binary calls it, n, by what its count is divided, and the operation whose figure is subtracted).
OPERATIONS = {
    "put": ("put", 20_000, 1, None),
    "put in a batch of 100": ("put_batch", 200, 100, None),
    "get, memtable": ("get_memtable", 20_000, 1, None),
    "get, sstable": ("get_sstable", 20_000, 1, None),
    "get, sstable with lz4": ("get_sstable_lz4", 20_000, 1, None),
    "get, missing key": ("get_miss", 20_000, 1, None),
    "scan of 100": ("scan_100", 1_000, 1, None),
    "scan of 100 with lz4": ("scan_100_lz4", 1_000, 1, None),
    "flush, an entry": ("put_and_flush", 20_000, 1, "put"),
    "merge, an entry": ("put_flush_and_merge", 20_000, 1, "put_and_flush"),
    "item put": ("item_put", 2_000, 1, None),
    "item get": ("item_get", 2_000, 1, None),
    "item from JSON": ("item_from_json", 2_000, 1, None),
    "item to JSON": ("item_to_json", 2_000, 1, None),
}

# How much more an operation may take. Unchanged code measures within 0.3% of itself; a change elsewhere may move what
# the compiler inlines by one or two percent.
TOLERANCE = 0.03

# What the processors that figures are taken on have; valgrind passes it on.
ABILITIES = ("avx2", "bmi2", "pclmulqdq", "sse4_2")

# AVX-512 is nothing that valgrind knows; the rest keeps string functions from depending on the processor's model.
TUNABLES = (
    "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-ERMS,-FSRM,-Prefer_No_VZEROUPPER:"
    "glibc.cpu.x86_non_temporal_threshold=0xc0000:"
    "glibc.malloc.arena_max=1"
)


def run(command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def valgrind():
    """The path of valgrind, installed if that is possible; None if there is none."""
    if not shutil.which("valgrind") and shutil.which("apt-get") and os.getuid() == 0:
        print("installing valgrind", flush=True)
        install = ["apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", "valgrind"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if subprocess.run(install, **quiet).returncode:
            subprocess.run(["apt-get", "update", "--quiet=2"], **quiet)
            subprocess.run(install, **quiet)
    return shutil.which("valgrind")


def build():
    """The path of the binary, built for any processor."""
    environment = {name: text for name, text in os.environ.items() if name != "RUSTFLAGS"}
    command = ["cargo", "build", "--locked", "--release", "--package", "esker-benches"]
    command += ["--bin", "instructions", "--message-format=json"]
    for line in run(command, cwd=ROOT, env=environment).splitlines():
        message = json.loads(line)
        if message.get("executable"):
            return message["executable"]
    raise SystemExit("cargo built no binary")


def surroundings():
    """What the figures depend on beside the code."""
    rustc = run(["rustc", "--version"], cwd=ROOT).split()[1]
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = re.search(r"^flags\s*:(.*)$", file.read(), re.MULTILINE)
    flags = flags.group(1).split() if flags else []
    return {"rustc": rustc, "abilities": [name for name in ABILITIES if name in flags]}


def count(tool, binary, operation, times, slower):
    """The instructions of one run."""
    with tempfile.TemporaryDirectory(prefix="esker-instructions-") as folder:
        command = [tool, "--tool=cachegrind", "--cache-sim=no"]
        command += ["--cachegrind-out-file=/dev/null", "--log-file=" + os.path.join(folder, "log")]
        command += [binary, operation, str(times)] + (["--slower"] if slower else [])
        environment = {"GLIBC_TUNABLES": TUNABLES, "TMPDIR": folder, "PATH": "/usr/bin:/bin"}
        ended = subprocess.run(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env=environment, timeout=600)
        with open(os.path.join(folder, "log"), encoding="utf-8") as file:
            log = file.read()
    found = re.search(r"I\s+refs:\s+([\d,]+)", log)
    if ended.returncode or not found:
        raise SystemExit(f"{operation} failed under valgrind:\n{ended.stderr}\n{log[-2000:]}")
    return int(found.group(1).replace(",", ""))


def measure(tool, binary, names, slower=False):
    """Instructions of one operation each, by name."""
    wanted = {}
    for name in names:
        operation, times, _, minus = OPERATIONS[name]
        wanted[operation] = times
        if minus:
            wanted[minus] = times
    runs = [(operation, times * factor) for operation, times in wanted.items() for factor in (2, 1)]
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        futures = {run_: pool.submit(count, tool, binary, *run_, slower) for run_ in runs}
        counts = {run_: future.result() for run_, future in futures.items()}

    def each(operation):
        times = wanted[operation]
        return (counts[operation, 2 * times] - counts[operation, times]) / times

    figures = {}
    for name in names:
        operation, _, parts, minus = OPERATIONS[name]
        total = each(operation) - (each(minus) if minus else 0)
        figures[name] = round(total / parts)
    return figures


def compare(figures, committed):
    """Prints a table; the names of the operations that got slower."""
    slower = []
    print(f"{'operation':<24} {'committed':>10} {'now':>10} {'change':>8}")
    for name, now in figures.items():
        before = committed.get(name)
        if before is None:
            print(f"{name:<24} {'-':>10} {now:>10}")
            continue
        change = now / before - 1
        mark = ""
        if change > TOLERANCE:
            slower.append(name)
            mark = "  SLOWER"
        elif change < -TOLERANCE:
            mark = "  faster"
        print(f"{name:<24} {before:>10} {now:>10} {change:>+8.1%}{mark}")
    return slower


def self_test(tool, binary):
    """Every eighth operation made twice has to be found, and the same code to agree with itself."""
    names = ["get, memtable", "item from JSON"]
    first = measure(tool, binary, names)
    again = compare(measure(tool, binary, names), first)
    planted = compare(measure(tool, binary, names, slower=True), first)
    if again or planted != names:
        print("FAILED: the same code differs from itself" if again else "FAILED: the slowdown was not found")
        return 1
    print("the planted slowdown was found")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operations", nargs="*", help="only these; by their name in the table or in the binary")
    parser.add_argument("--update", action="store_true", help="write the figures of this tree")
    parser.add_argument("--self-test", action="store_true", help="find a planted slowdown")
    parser.add_argument("--binary", help="this one instead of building")
    arguments = parser.parse_args()
    tool = valgrind()
    if not tool:
        print("skipped: no valgrind, and it cannot be installed here")
        return 0
    names = [name for name, (operation, *_) in OPERATIONS.items()
             if not arguments.operations or {name, operation} & set(arguments.operations)]
    if not names:
        parser.error("no such operation; there are: " + ", ".join(OPERATIONS))
    binary = os.path.abspath(arguments.binary) if arguments.binary else build()
    if arguments.self_test:
        return self_test(tool, binary)
    began = time.monotonic()
    figures = measure(tool, binary, names)
    here = surroundings()
    try:
        with open(FIGURES, encoding="utf-8") as file:
            committed = json.load(file)
    except FileNotFoundError:
        committed = {"figures": {}}
    slower = compare(figures, committed["figures"])
    print(f"instructions an operation; {time.monotonic() - began:.0f} s")
    if arguments.update:
        same = {name: committed.get(name) for name in here} == here
        kept = committed["figures"] if same else {}
        merged = {**kept, **figures}
        ordered = {name: merged[name] for name in OPERATIONS if name in merged}
        with open(FIGURES, "w", encoding="utf-8") as file:
            json.dump({**here, "figures": ordered}, file, indent=2)
            file.write("\n")
        print("written to " + os.path.relpath(FIGURES, ROOT))
        return 0
    for name, value in here.items():
        if committed.get(name) != value:
            print(f"not judged: the figures were taken with {name} {committed.get(name)}, here is {value}")
            return 0
    missing = [name for name in names if name not in committed["figures"]]
    if slower or missing:
        print("FAILED: " + ", ".join(slower + missing) + " (if that has to be: scripts/instructions.py --update)")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
