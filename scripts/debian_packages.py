#!/usr/bin/env python3
"""Turns Debian's package index into JSON lines: one object a package, keyed by `Package`.

    debian_packages.py                      # what `apt-cache dumpavail` prints, to standard output
    debian_packages.py Packages -o out      # a Packages file from a mirror; - for standard input
    debian_packages.py --synthetic 5000     # a made-up index of the same shape, where there is no apt

A real and irregular data set: about 63,000 packages, no two of which need have the same attributes. What a field
becomes:

- relations (Depends, Provides, ...), Tag and other comma separated fields: a list of strings;
- Size and Installed-Size: numbers;
- everything else: a string. A folded field keeps its line breaks; a continuation line loses its leading space, and
  a line of a single dot, which stands for an empty one, becomes empty.

Of several versions of one package the newest is kept, by `dpkg --compare-versions` where there is a dpkg, otherwise
the last one seen; how many were dropped is said on standard error. The output is in the input's order, with fields in
the input's order, and the same input always gives the same bytes. Standard library only.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys

RELATIONS = {
    "Breaks", "Built-Using", "Conflicts", "Depends", "Enhances", "Pre-Depends", "Provides",
    "Recommends", "Replaces", "Static-Built-Using", "Suggests", "X-Cargo-Built-Using",
}
OTHER_LISTS = {"Ruby-Versions", "Tag"}
NUMBERS = {"Installed-Size", "Size"}


def stanzas(lines):
    """The index's paragraphs, each a dict from field name to the raw value with its line breaks."""
    fields, last = {}, None
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\n")
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, None
        elif line[0] in " \t":
            if last is None:
                raise ValueError(f"line {number}: a continuation without a field: {line!r}")
            text = line[1:]
            fields[last] += "\n" + ("" if text == "." else text)
        else:
            name, colon, value = line.partition(":")
            if not colon or not name:
                raise ValueError(f"line {number}: not a field: {line!r}")
            last = name
            fields[name] = value.strip()
    if fields:
        yield fields


def to_item(fields):
    """One paragraph as the object that is written."""
    item = {}
    for name, value in fields.items():
        if name in RELATIONS or name in OTHER_LISTS:
            parts = (" ".join(part.split()) for part in value.split(","))
            item[name] = [part for part in parts if part]
        elif name in NUMBERS:
            item[name] = int(value)
        else:
            item[name] = value
    return item


def is_newer(version, than):
    """Whether `version` is at least `than`, by Debian's rules if dpkg is there to ask."""
    if not shutil.which("dpkg"):
        return True
    return subprocess.run(["dpkg", "--compare-versions", version, "ge", than]).returncode == 0


def newest(all_fields):
    """The paragraphs by package, the newest version of each, and how many were dropped."""
    kept, dropped = {}, 0
    for fields in all_fields:
        name = fields["Package"]
        if name in kept:
            dropped += 1
            if not is_newer(fields.get("Version", ""), kept[name].get("Version", "")):
                continue
        kept[name] = fields
    return kept, dropped


def synthetic(count):
    """A made-up index, as lines: the shape of the real one, from a fixed seed."""
    chance = random.Random(20260501)
    words = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbour", "islet", "kelp"]
    for number in range(count):
        name = f"{chance.choice(words)}-{chance.choice(words)}-{number}"
        yield f"Package: {name}"
        yield f"Version: {chance.randrange(9)}:{chance.randrange(30)}.{chance.randrange(99)}-1"
        yield f"Maintainer: Zoë Łukasiewicz <{chance.choice(words)}@example.org>"
        if chance.random() < 0.98:
            yield f"Installed-Size: {chance.randrange(1, 10 ** 7)}"
        if chance.random() < 0.9:
            relations = (f"{word} (>= 1.{chance.randrange(9)})" for word in chance.sample(words, 4))
            yield "Depends: " + ", ".join(relations)
        if chance.random() < 0.5:
            yield f"Tag: role::{chance.choice(words)}, use::{chance.choice(words)},\n works::text"
        yield "Description: made up\n A longer text of several lines,\n .\n the middle one empty."
        yield f"Size: {chance.randrange(10 ** 10)}"
        yield ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="?", help="a Packages file, or - for standard input, instead of apt-cache dumpavail")
    parser.add_argument("-o", "--output", help="a file instead of standard output")
    parser.add_argument("-n", "--limit", type=int, help="write only the first LIMIT packages")
    parser.add_argument("--synthetic", type=int, metavar="COUNT", help="make up COUNT packages")
    arguments = parser.parse_args()

    if arguments.synthetic is not None:
        text = "\n".join(synthetic(arguments.synthetic))
    elif arguments.packages == "-":
        text = sys.stdin.buffer.read().decode("utf-8")
    elif arguments.packages:
        with open(arguments.packages, encoding="utf-8") as source:
            text = source.read()
    else:
        dump = subprocess.run(["apt-cache", "dumpavail"], check=True, stdout=subprocess.PIPE)
        text = dump.stdout.decode("utf-8")
    kept, dropped = newest(stanzas(text.split("\n")))
    if not kept:
        sys.exit("no packages found; run `apt-get update` first?")

    written = 0
    with open(arguments.output or 1, "w", encoding="utf-8") as sink:
        for fields in kept.values():
            if written == arguments.limit:
                break
            sink.write(json.dumps(to_item(fields), ensure_ascii=False, separators=(",", ":")) + "\n")
            written += 1
    print(f"{written} packages written, {dropped} older versions dropped", file=sys.stderr)


if __name__ == "__main__":
    main()
