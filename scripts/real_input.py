#!/usr/bin/env python3
"""The product on real input: Debian's package index in, every item back, through kill -9.

    real_input.py                           # all packages, 5 rounds of kill -9
    real_input.py --limit 3000 --rounds 2   # a short run
    real_input.py --synthetic 3000          # where there is no apt

1. Makes JSON lines of the package index (debian_packages.py).
2. Starts the server, creates a table keyed by `Package`, and imports the lines with `esker import`.
3. Reads every item back through boto3 (BatchGetItem), compares it with its line, counts a whole Scan.
4. Kills the server with SIGKILL, starts it again, and compares every item once more.
5. Rounds: several connections write revisions of real packages (PutItem and BatchWriteItem); each acknowledged
   revision is recorded here, outside the victim; the server dies by SIGKILL in the middle; after the restart every
   package must have exactly its last acknowledged revision, or the one that was on its way when the server died.
   What one round has shown must not change until the next write to it.
6. Ends the server by SIGTERM, which has to exit with 0, and compares once more after a clean restart.

Prints its figures; exits with 0 only if everything is equal.
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from esker_process import Server, Wire, WireError

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE, LOADED = "Packages", "Loaded"


def say(text):
    print(text, flush=True)


def require(condition, text):
    if not condition:
        sys.exit(f"real_input: FAILED: {text}")


def to_wire(value):
    """A JSON value as a DynamoDB attribute value."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"L": [to_wire(member) for member in value]}


def wire_item(item):
    return {name: to_wire(value) for name, value in item.items()}


def make_lines(arguments, path):
    """Writes the JSON lines; says where they come from."""
    command = [sys.executable, ROOT / "scripts/debian_packages.py", "-o", path]
    if arguments.synthetic is not None:
        command += ["--synthetic", str(arguments.synthetic)]
    elif arguments.packages:
        command.append(arguments.packages)
    if arguments.limit is not None:
        command += ["--limit", str(arguments.limit)]
    subprocess.run(command, check=True)


def create_table(port, name):
    wire = Wire(port)
    wire.call("CreateTable", {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "Package", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "Package", "KeyType": "HASH"}],
    })
    for _ in range(600):
        if wire.call("DescribeTable", {"TableName": name})["Table"]["TableStatus"] == "ACTIVE":
            return
        time.sleep(0.05)
    require(False, f"{name} never became active")


def import_lines(arguments, server, lines):
    began = time.monotonic()
    subprocess.run(
        [arguments.binary, "import", lines, "--table", TABLE, "--endpoint", server.endpoint],
        check=True, stdin=subprocess.DEVNULL,
    )
    return time.monotonic() - began


def boto(server):
    """boto3's client, as any program makes it."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "dynamodb", endpoint_url=server.endpoint, region_name="us-east-1",
        aws_access_key_id="local", aws_secret_access_key="local",
        config=Config(retries={"max_attempts": 2}),
    )


def read_back(server, table, names):
    """The items of these names through boto3, as DynamoDB attribute values."""
    client, found = boto(server), {}
    for start in range(0, len(names), 100):
        keys = [{"Package": {"S": name}} for name in names[start:start + 100]]
        wanted = {table: {"Keys": keys, "ConsistentRead": True}}
        while wanted:
            answer = client.batch_get_item(RequestItems=wanted)
            for item in answer["Responses"].get(table, []):
                name = item["Package"]["S"]
                require(name not in found, f"{name} came twice")
                found[name] = item
            wanted = answer.get("UnprocessedKeys")
    return found


def compare_all(server, items, what):
    began = time.monotonic()
    found = read_back(server, TABLE, list(items))
    for name, item in items.items():
        require(name in found, f"{what}: {name} is missing")
        require(found[name] == wire_item(item), f"{what}: {name} differs: {found[name]}")
    require(len(found) == len(items), f"{what}: {len(found)} items for {len(items)} packages")
    say(f"{what}: {len(found)} items equal, read in {time.monotonic() - began:.1f} s")


def count_scan(server, table):
    client, count, start = boto(server), 0, {}
    while True:
        answer = client.scan(TableName=table, Select="COUNT", **start)
        count += answer["Count"]
        if "LastEvaluatedKey" not in answer:
            return count
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


class Loader(threading.Thread):
    """One connection that writes revisions of its own packages, over and over.

    `acknowledged` maps a name to its last acknowledged revision; `under_way` holds the revisions of the request that
    has no answer yet. Batch and single writes alternate.
    """

    def __init__(self, port, items, revisions, seed):
        super().__init__(daemon=True)
        self.wire, self.items, self.chance = Wire(port), items, random.Random(seed)
        self.acknowledged, self.under_way, self.failure = dict(revisions), {}, None
        self.writes = 0

    def run(self):
        names = list(self.items)
        try:
            while True:
                chosen = self.chance.sample(names, min(len(names), self.chance.choice([1, 1, 25])))
                self.under_way = {name: self.acknowledged.get(name, 0) + 1 for name in chosen}
                self.write()
                self.acknowledged.update(self.under_way)
                self.writes += len(chosen)
                self.under_way = {}
        except WireError as error:
            self.failure = error
        except (OSError, ValueError, http.client.HTTPException):
            pass  # The server died, as it was meant to; the request under way is undecided.

    def write(self):
        puts = [revised(self.items[name], number) for name, number in self.under_way.items()]
        if len(puts) == 1:
            self.wire.call("PutItem", {"TableName": LOADED, "Item": puts[0]})
            return
        requests = {LOADED: [{"PutRequest": {"Item": item}} for item in puts]}
        while requests:
            requests = self.wire.call("BatchWriteItem", {"RequestItems": requests}).get("UnprocessedItems")


def revised(item, number):
    """A package with the revision that a loader gives it; the item is known from both."""
    return {**wire_item(item), "Revision": {"N": str(number)}}


def kill_rounds(arguments, server, items):
    """Step 5; returns the number of acknowledged writes, the undecided ones and the restarts' seconds."""
    create_table(server.port, LOADED)
    chance = random.Random(arguments.seed)
    names = list(items)
    shares = [names[index::arguments.writers] for index in range(arguments.writers)]
    revisions, writes, undecided, restarts = {}, 0, 0, []
    for number in range(arguments.rounds):
        loaders = []
        for index, share in enumerate(shares):
            mine = {name: revisions[name] for name in share if name in revisions}
            seed = arguments.seed * 1000 + number * 100 + index
            loaders.append(Loader(server.port, {name: items[name] for name in share}, mine, seed))
        for loader in loaders:
            loader.start()
        time.sleep(chance.uniform(0.3, arguments.load_seconds))
        server.kill()
        for loader in loaders:
            loader.join(timeout=120)
            require(not loader.is_alive(), "a loader hangs after the server's death")
            require(loader.failure is None, f"a write was refused: {loader.failure}")
        restarts.append(server.start())

        touched = {name for loader in loaders for name in (*loader.acknowledged, *loader.under_way)}
        found = read_back(server, LOADED, sorted(touched))
        for loader in loaders:
            for name in (*loader.acknowledged, *loader.under_way):
                allowed = {loader.acknowledged.get(name, 0), loader.under_way.get(name, 0)} - {0}
                if name not in loader.acknowledged and name not in found:
                    continue
                require(name in found, f"round {number}: acknowledged {name} is gone")
                shown = int(found[name]["Revision"]["N"])
                require(shown in allowed, f"round {number}: {name} shows {shown}, not one of {allowed}")
                require(found[name] == revised(items[name], shown), f"round {number}: {name} differs")
                revisions[name] = shown
        acknowledged = sum(loader.writes for loader in loaders)
        require(acknowledged > 0, f"round {number}: nothing was written; raise --load-seconds")
        writes += acknowledged
        undecided += sum(len(loader.under_way) for loader in loaders)
        say(f"round {number + 1}: {acknowledged} writes acknowledged, then kill -9; "
            f"{len(found)} items checked, serving again after {restarts[-1]:.2f} s")
    return writes, undecided, restarts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="?", help="a Packages file instead of apt-cache dumpavail")
    parser.add_argument("--binary", default=ROOT / "target/release/esker", help="the server")
    parser.add_argument("--limit", type=int, help="only the first LIMIT packages")
    parser.add_argument("--synthetic", type=int, metavar="COUNT", help="make up COUNT packages")
    parser.add_argument("--rounds", type=int, default=5, help="kill -9 rounds")
    parser.add_argument("--writers", type=int, default=4, help="connections that load")
    parser.add_argument("--load-seconds", type=float, default=3.0, help="the longest load of a round")
    parser.add_argument("--seed", type=int, default=1, help="of the loaders' choices")
    parser.add_argument("--keep", help="keep data, lines and log in this folder")
    arguments = parser.parse_args()

    folder = pathlib.Path(arguments.keep or tempfile.mkdtemp(prefix="esker-real-input-"))
    os.makedirs(folder, exist_ok=True)
    server = Server(arguments.binary, folder / "data", folder / "server.log")
    equal = False
    try:
        lines = folder / "packages.jsonl"
        make_lines(arguments, lines)
        with open(lines, encoding="utf-8") as source:
            items = {item["Package"]: item for item in map(json.loads, source)}
        attributes = {name for item in items.values() for name in item}
        say(f"{len(items)} packages, {len(attributes)} different attributes, "
            f"{lines.stat().st_size / 1e6:.1f} MB of JSON; seed {arguments.seed}")

        server.start()
        create_table(server.port, TABLE)
        seconds = import_lines(arguments, server, lines)
        say(f"imported in {seconds:.1f} s: {len(items) / seconds:.0f} items/s")
        compare_all(server, items, "after the import")
        scanned = count_scan(server, TABLE)
        require(scanned == len(items), f"a scan counts {scanned} items of {len(items)}")
        server.kill()
        say(f"kill -9; serving again after {server.start():.2f} s")
        compare_all(server, items, "after kill -9")

        writes, undecided, restarts = kill_rounds(arguments, server, items)
        say(f"{arguments.rounds} rounds of kill -9 under load: {writes} writes acknowledged, 0 lost, "
            f"{undecided} undecided; slowest restart {max(restarts, default=0):.2f} s")
        compare_all(server, items, "after the rounds")
        code = server.stop()
        require(code == 0, f"SIGTERM ended the server with {code}")
        say(f"SIGTERM; serving again after {server.start():.2f} s")
        compare_all(server, items, "after a clean restart")
        equal = True
    finally:
        server.kill()
        if not equal:
            say(f"what is left is in {folder}")
        elif not arguments.keep:
            shutil.rmtree(folder)
    say("real_input: everything is equal")


if __name__ == "__main__":
    main()
