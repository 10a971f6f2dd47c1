#!/usr/bin/env python3
"""Line and branch coverage of the code that reads and writes Esker's files, from `llvm-cov export`.

Called by coverage.sh. What counts as format and recovery code stands in FILES, what no test can reach in EXCLUDED. A
source branch counts once, however many copies of a generic or inlined function there are: each of its two sides is
covered if any copy takes it. Test code does not count. The branches are those that the compiler tells apart: the two
outcomes of every condition of `if`, `while`, `let ... else` and `if let`; the arms of a `match` and the early return of
`?` are regions.
"""

import argparse
import collections
import json
import pathlib
import re
import sys

# Files and folders, relative to the repository. A folder stands for every .rs file in it.
FILES = """
base/src/batch.rs
base/src/checksum.rs
base/src/frame.rs
base/src/ids.rs
base/src/key.rs
base/src/names.rs
base/src/varint.rs
wal/src
manifest/src
sstable/src/block.rs
sstable/src/block_builder.rs
sstable/src/block_cursor.rs
sstable/src/filter.rs
sstable/src/format.rs
sstable/src/identity.rs
sstable/src/index.rs
sstable/src/inspect.rs
sstable/src/properties.rs
sstable/src/reader.rs
sstable/src/salvage.rs
sstable/src/verify.rs
sstable/src/writer.rs
engine/src/inspect.rs
engine/src/open.rs
engine/src/repair
engine/src/repair.rs
engine/src/takeover.rs
engine/src/verify.rs
""".split()

# What no test can reach: (file, the text of the condition, its side, why). An entry that names no branch, or one that
# a test does reach, is an error, so that the list cannot outlive its reasons.
EXCLUDED = [
    # Behind a planted bug: see PLANTED.
    *[("wal/src/reader.rs", "file.read_exact_at(buffer, 0).is_err()", side, "a planted bug") for side in (True, False)],
    *[("wal/src/writer.rs", "segment.file.sync_data().is_ok()", side, "a planted bug") for side in (True, False)],
    *[("manifest/src/recover.rs", "self.frame(frame.end())?.is_err()", side, "a planted bug") for side in (True, False)],
    ("wal/src/writer.rs", "claims_all", True, "a planted bug"),
    ("engine/src/open.rs", "restarts", True, "a planted bug"),
    # What the types cannot say.
    (
        "engine/src/verify.rs",
        "key::user_key(&before.largest) >= key::user_key(&after.smallest)",
        True,
        "the files in use are those of the picture, whose order was checked right before",
    ),
    # Limits that a test would need more than 4 GiB of memory to reach.
    ("sstable/src/writer.rs", "self.index.separator_bytes() > u64::from(u32::MAX)", True, "an index over 4 GiB"),
    ("sstable/src/writer.rs", "content_len + BLOCK_TRAILER_LEN > u32::MAX as usize", True, "a section over 4 GiB"),
]

# Planted bugs: `mutant!` is false in every build that is not made for `esker-sim mutants`.
PLANTED = "mutant!("

REGION_CODE = 0


def source_files(root):
    for name in FILES:
        path = root / name
        assert path.exists(), f"{name} is listed and not there"
        for file in [path] if path.is_file() else sorted(path.rglob("*.rs")):
            parts = file.relative_to(root).parts
            if not {"tests", "tests.rs", "testing.rs"} & set(parts):
                yield file.relative_to(root).as_posix()


class Source:
    """A source file, and which of its lines are test code."""

    def __init__(self, path):
        self.lines = path.read_text(encoding="utf-8").split("\n")
        self.test_lines = set()
        for at, line in enumerate(self.lines):
            if line.strip() != "#[cfg(test)]":
                continue
            # rustfmt puts the closing brace of an item under its first letter.
            indent = line[: len(line) - len(line.lstrip())]
            end = at + 1
            if self.lines[end].rstrip().endswith("{"):
                while self.lines[end] != indent + "}":
                    end += 1
            self.test_lines.update(range(at + 1, end + 2))

    def text(self, span):
        """What stands between two places; columns count characters from 1."""
        (line, column), (end_line, end_column) = span[:2], span[2:]
        part = self.lines[line - 1 : end_line]
        part[-1] = part[-1][: end_column - 1]
        part[0] = part[0][column - 1 :]
        return " ".join(" ".join(part).split())


class File:
    def __init__(self, source):
        self.source = source
        self.branches = collections.defaultdict(lambda: [0, 0])
        self.regions = collections.defaultdict(int)

    def lines(self):
        """Per line how often it ran: the most of any region that starts on it, else that of the smallest around it."""
        counts = {}
        regions = sorted(self.regions.items(), key=lambda item: (item[0][2] - item[0][0], item[0]), reverse=True)
        for (line, _, end, _), count in regions:
            for at in range(line, end + 1):
                counts[at] = count
        for (line, _, _, _), count in regions:
            counts[line] = max(counts[line], count)
        blank = re.compile(r"\s*(//.*|[\])};,]*|\} else \{)?$")
        return {line: count for line, count in counts.items() if not blank.match(self.source.lines[line - 1])}


def read(export, root):
    files = {name: File(Source(root / name)) for name in source_files(root)}
    by_path = {str((root / name).resolve()): file for name, file in files.items()}
    for function in export["functions"]:
        paths = function["filenames"]
        for branch in function["branches"]:
            file = by_path.get(paths[branch[6]])
            if file and branch[0] not in file.source.test_lines:
                sides = file.branches[tuple(branch[:4])]
                sides[0] += branch[4]
                sides[1] += branch[5]
        for region in function["regions"]:
            file = by_path.get(paths[region[5]])
            if file and region[7] == REGION_CODE and region[0] not in file.source.test_lines:
                file.regions[tuple(region[:4])] += region[4]
    return files


def judge(files):
    """Takes out what is excluded; per file (covered, all, missing) of its branches, and what is wrong with the list."""
    unused = set(range(len(EXCLUDED)))
    wrong = []
    results = {}
    for name, file in files.items():
        covered = total = 0
        missing = []
        for span, sides in sorted(file.branches.items()):
            text = file.source.text(span)
            if PLANTED in text:
                continue
            for side, count in zip((True, False), sides):
                excluded = [
                    at
                    for at, (path, condition, which, _) in enumerate(EXCLUDED)
                    if (path, condition, which) == (name, text, side)
                ]
                if excluded:
                    unused.difference_update(excluded)
                    if count:
                        wrong.append(f"{name}:{span[0]}: `{text}` is excluded as {side}, but a test reaches it")
                    continue
                total += 1
                covered += count > 0
                if not count:
                    missing.append((span[0], text, side))
        results[name] = (covered, total, missing)
    wrong += [f"the exclusion {EXCLUDED[at][:3]} names no branch" for at in sorted(unused)]
    return results, wrong


def percent(covered, total):
    return f"{100 * covered / total:.1f}%" if total else "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("export", type=pathlib.Path, help="what `llvm-cov export` printed")
    parser.add_argument("--floor", type=float, default=95, help="the least percentage of all branches (default 95)")
    parser.add_argument("--missing", action="store_true", help="list every branch side that no test takes")
    parser.add_argument("--missing-regions", action="store_true", help="list every region that no test runs")
    arguments = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parent.parent
    with arguments.export.open(encoding="utf-8") as export:
        files = read(json.load(export)["data"][0], root)
    results, wrong = judge(files)

    print(f"{'file':34} {'lines':>6} {'':>7} {'regions':>8} {'':>7} {'branches':>9} {'':>7}")
    sums = collections.defaultdict(lambda: [0] * 6)
    for name, file in files.items():
        lines = file.lines().values()
        row = [sum(map(bool, lines)), len(lines), sum(map(bool, file.regions.values())), len(file.regions)]
        row += results[name][:2]
        if not row[3]:
            continue
        for key in (name.split("/")[0], "total"):
            sums[key] = [a + b for a, b in zip(sums[key], row)]
        print_row(name, row)
    print()
    for name in [*(key for key in sums if key != "total"), "total"]:
        print_row(name, sums[name])
    if EXCLUDED:
        print(f"\nexcluded: {len(EXCLUDED)} sides of branches that nothing can reach, listed in scripts/coverage.py")
    if arguments.missing:
        print()
        for name, (_, _, missing) in results.items():
            for line, text, side in missing:
                print(f"{name}:{line}: never {str(side).lower()}: {text}")
    if arguments.missing_regions:
        print()
        for name, file in files.items():
            for span, count in sorted(file.regions.items()):
                if not count:
                    print(f"{name}:{span[0]}: never run: {file.source.text(span)[:100]}")
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    covered, total = sums["total"][4:]
    reached = 100 * covered / total if total else 0
    if reached < arguments.floor:
        print(f"error: {reached:.2f}% of the branches are covered, below {arguments.floor}%", file=sys.stderr)
    sys.exit(1 if wrong or reached < arguments.floor else 0)


def print_row(name, row):
    cells = [f"{a}/{b}" for a, b in zip(row[::2], row[1::2])]
    shares = [percent(a, b) for a, b in zip(row[::2], row[1::2])]
    print(
        f"{name:34} {cells[0]:>9} {shares[0]:>6} {cells[1]:>9} {shares[1]:>6} {cells[2]:>9} {shares[2]:>6}",
    )


if __name__ == "__main__":
    main()
