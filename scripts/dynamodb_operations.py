"""Throughput and latency of every data operation of several servers and of Esker in process, as a Markdown table.

compare_dynamodb.py --operations calls it, in a network namespace of its own, when everything is built; the client is
benches/src/bin/operations. It ends only processes that it has started.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dynamodb_servers import MEASURED, Running, target

CONNECTIONS = 4
NAMES = {
    "PutItem": "PutItem", "ConditionalPutItem": "PutItem with a condition", "GetItem": "GetItem",
    "UpdateItem": "UpdateItem (a counter)", "DeleteItem": "DeleteItem", "Query": "Query, 10 items",
    "QueryIndex": "Query of a global index, 10 items", "Scan": "Scan, a page of 100", "BatchGetItem": "BatchGetItem, 25",
    "BatchWriteItem": "BatchWriteItem, 25", "TransactGetItems": "TransactGetItems, 10",
    "TransactWriteItems": "TransactWriteItems, 10",
}
EMBEDDED = "in process"


def measure(arguments, *where):
    """What the client prints, by operation."""
    command = [target() / "release/operations", "--connections", CONNECTIONS, "--seconds", arguments.seconds, *where]
    answer = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    print(answer.stdout, file=sys.stderr)
    found = {}
    for line in answer.stdout.splitlines():
        values = dict(pair.split("=") for pair in line.split())
        phase = values.pop("phase")
        found[phase] = {name: float(value) for name, value in values.items()}
    # What was measured before the client failed is shown, and so is that it failed.
    return found, answer.returncode == 0


def measure_all(chosen, cache, arguments):
    """The results by server, and why there are none of others."""
    results, failed = {}, {}
    for key in chosen:
        try:
            with Running(MEASURED[key], cache, arguments) as running:
                where = ["--endpoint", f"http://127.0.0.1:{running.port}", "--pid", running.process.pid]
                results[MEASURED[key].name], whole = measure(arguments, *where)
            if not whole:
                failed[MEASURED[key].name] = "the client failed; see above"
        except (RuntimeError, OSError) as error:
            failed[MEASURED[key].name] = error
        if key == "esker":
            folder = Path(tempfile.mkdtemp(prefix="compare-", dir=arguments.data))
            name = f"{MEASURED[key].name}, {EMBEDDED}"
            try:
                results[name], whole = measure(arguments, "--directory", folder / "data")
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            if not whole:
                failed[name] = "the client failed; see above"
    return results, failed


def cell(found):
    if found is None:
        return "-"
    if found["rate"] == 0:
        return "not known"
    return f"{found['rate']:,.0f}/s, {found['p50_ms']:.3g} / {found['p99_ms']:.3g}"


def report(chosen, cache, arguments):
    """Prints the table; the exit code."""
    results, failed = measure_all(chosen, cache, arguments)
    print(f"{CONNECTIONS} clients with one request under way each, 1 KB items, {arguments.seconds:g} s for each operation; "
          f"clients and servers on the same {os.cpu_count()} processors (load before: {os.getloadavg()[2]:.1f}). Rate, then p50 / "
          "p99 in ms. The rate includes what the clients do themselves, the latency does not.\n")
    print("| | " + " | ".join(results) + " |")
    print("|---|" + "---:|" * len(results))
    for phase, name in NAMES.items():
        print(f"| {name} | " + " | ".join(cell(found.get(phase)) for found in results.values()) + " |")
    wrong = {name: int(sum(part["wrong"] for part in found.values())) for name, found in results.items()}
    print("| wrong answers | " + " | ".join(str(count) for count in wrong.values()) + " |")
    print("\nDurability of a write:\n")
    for key in chosen:
        print(f"- {MEASURED[key].name}: {MEASURED[key].durability}")
    for name, error in failed.items():
        print(f"\nNot whole: {name}: {error}")
    esker = any(wrong[name] for name in results if name.startswith(MEASURED["esker"].name))
    esker |= any(name.startswith(MEASURED["esker"].name) for name in failed)
    return 1 if esker or not results else 0
