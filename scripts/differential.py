#!/usr/bin/env python3
"""Sends the same generated requests to Esker, dynoxide and DynamoDB Local and compares the answers; prints Markdown.

    scripts/differential.py [--requests 5000] [--seed 1] [--only dynoxide,local] [--esker BINARY] [--findings FILE]
    scripts/differential.py --ci [--esker BINARY]

Requests are valid, nearly valid and wild, over every item operation (scripts/differential/generate.py), and reproducible from
their seed. Status, type and message of an error and the body of an answer have to be equal, apart from ids, times and the
order of what has none. After each write that the servers do not agree on, the others get Esker's state.

No server but the real one is the truth. scripts/differential/known.toml says of each known difference who is right, and why; a
difference that it does not know fails the run, and so does an entry of which the other server is right.

With --ci it sends a thousand requests of each of a few fixed seeds, to dynoxide, and to DynamoDB Local where the machine has
Java, npm and network namespaces; with dynoxide alone it cannot tell which of two texts a third server has, and holds
Esker against the decisions without that. About a minute when the servers are there.

What it needs it gets (scripts/dynamodb_servers.py); DynamoDB Local takes part where a network namespace can be made. Servers
listen on loopback only and keep their data in memory or in a temporary folder.
"""

import argparse
import collections
import http.client
import json
import shutil
import sys
import tomllib
from pathlib import Path

from differential.compare import Answer, Difference, canonical_key, plain, template, unordered
from differential.generate import TABLES, Generator
from dynamodb_servers import SERVERS, Running, enter_namespace, loopback_up, target

WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}
CI_SEEDS, CI_REQUESTS = (1, 2, 3), 1000
KNOWN = Path(__file__).resolve().parent / "differential/known.toml"


class Peer:
    """A running server and a connection to it."""

    def __init__(self, key, running):
        self.key, self.running, self.connection = key, running, None

    def send(self, operation, request):
        body = json.dumps(request, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}", "X-Amz-Date": "20260101T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, "
                             "SignedHeaders=host;x-amz-date;x-amz-target, Signature=00",
        }
        for _ in range(2):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.running.port, timeout=60)
                self.connection.request("POST", "/", body, headers)
                response = self.connection.getresponse()
                return Answer(response.status, response.read())
            except (OSError, http.client.HTTPException) as error:
                self.connection.close()
                self.connection, last = None, error
        if self.running.process.poll() is not None:
            raise RuntimeError(f"{self.key} has ended: {last}: {operation} {body.decode()[:2000]}")
        return Answer(0, json.dumps({"__type": "no answer", "message": type(last).__name__}).encode())

    def items(self, table):
        """All items of a table, by key."""
        found, request = {}, {"TableName": table, "ConsistentRead": True}
        while True:
            answer = self.send("Scan", request)
            if answer.status != 200:
                raise RuntimeError(f"{self.key} cannot be scanned: {answer.short()}")
            for item in answer.body["Items"]:
                found[canonical_key(item)] = item
            if "LastEvaluatedKey" not in answer.body:
                return found
            request["ExclusiveStartKey"] = answer.body["LastEvaluatedKey"]


def key_of(table, item):
    return {name: item[name] for name in ("p", "r") if name in item and TABLES[table][0 if name == "p" else 2]}


def same_state(esker, others):
    """Gives the others Esker's items; where one does not take an item, nobody keeps it."""
    for table in TABLES:
        for _ in range(3):
            wanted, settled = esker.items(table), True
            for other in others:
                found = other.items(table)
                for key in found.keys() - wanted.keys():
                    other.send("DeleteItem", {"TableName": table, "Key": key_of(table, found[key])})
                for key in wanted:
                    if wanted[key] != found.get(key) and other.send("PutItem", {"TableName": table, "Item": wanted[key]}).status != 200:
                        esker.send("DeleteItem", {"TableName": table, "Key": key_of(table, wanted[key])})
                        settled = False
            if settled:
                break


def compared(peers, operation, request, differences, alike):
    """Sends one request to all; notes the differences and the errors that two servers word alike; whether there is a difference."""
    esker, *others = peers
    answers = {peer.key: peer.send(operation, request) for peer in peers}
    for answer in answers.values():
        if isinstance(answer.body, dict) and isinstance(request, dict):
            answer.body = unordered(operation, request, answer.body)
    mine, found = answers["esker"], False
    for other in others:
        theirs = answers[other.key]
        if mine.status != 200 and plain(mine.short()) == plain(theirs.short()):
            alike[other.key].add(template(plain(mine.short())))
        if mine.same(theirs) and not mine.failed():
            continue
        found = True
        third = [answers[one.key] for one in others if one is not other]
        side = "alone" if third and third[0].same(theirs) else "two" if third and third[0].same(mine) else "split" if third else None
        differences.append(Difference(other.key, operation, request, mine, theirs, side))
    return found, mine


def reads_after(operation, request):
    """What shows what a write has stored."""
    if operation == "PutItem":
        return []
    if not operation.startswith(("Batch", "Transact")):
        return [("GetItem", {"TableName": request["TableName"], "Key": request["Key"]})]
    return [("Scan", {"TableName": table, "ConsistentRead": True}) for table in TABLES]


def run(peers, arguments):
    """All differences, and how many requests had none."""
    generator, differences, agreed = Generator(arguments.seed), [], 0
    accepted, alike = collections.Counter(), collections.defaultdict(set)
    for operation, request in generator.start():
        compared(peers, operation, request, differences, alike)
    same_state(peers[0], peers[1:])
    for number in range(arguments.requests):
        operation, request = generator.request()
        found, mine = compared(peers, operation, request, differences, alike)
        agreed += not found
        accepted[operation, mine.status == 200] += 1
        if operation in WRITES and not found and mine.status == 200:
            # What it stored, also where the answer does not show it.
            before = len(differences)
            found = any([compared(peers, *read, differences, alike)[0] for read in reads_after(operation, request)])
            for one in differences[before:]:
                one.operation, one.request = f"{operation}, then {one.operation}", request
        if found and operation in WRITES:
            same_state(peers[0], peers[1:])
        if found and operation in ("CreateTable", "DeleteTable"):
            for peer in peers:
                peer.send("DeleteTable", {"TableName": "diff-made"})
        if number % 1000 == 999:
            print(f"{number + 1} requests, {agreed} agreed", file=sys.stderr)
    for one in differences:
        # Both servers know both errors and word them alike, elsewhere: here the one looks at this first, the other at that.
        one.order = one.esker != one.other and {template(plain(one.esker)), template(plain(one.other))} <= alike[one.server]
    return differences, agreed, accepted


def report(differences, agreed, accepted, arguments, peers):
    """Prints what was found; whether all of it is known and Esker's right."""
    rules = tomllib.loads(KNOWN.read_text())["difference"]
    by_rule, unknown = collections.Counter(), collections.defaultdict(list)
    for one in differences:
        rule = next((rule for rule in rules if one.matches(rule)), None)
        if rule is None:
            unknown[one.signature()].append(one)
        else:
            by_rule[rule["name"], one.server] += 1
    print(f"{arguments.requests:,} requests of seed {arguments.seed} to {', '.join(SERVERS[peer.key].name for peer in peers)}: "
          f"{agreed:,} answered alike by all.\n")
    print("| operation | accepted by Esker | refused |\n|---|---:|---:|")
    for operation in sorted({operation for operation, _ in accepted}):
        print(f"| {operation} | {accepted[operation, True]:,} | {accepted[operation, False]:,} |")
    print("\n| known difference | server | answers | right is |\n|---|---|---:|---|")
    rights = {rule["name"]: rule["right"] for rule in rules}
    for (name, server), count in sorted(by_rule.items(), key=lambda pair: -pair[1]):
        print(f"| {name} | {server} | {count:,} | {rights[name]} |")
    wrong = {name for name, right in rights.items() if right not in ("esker", "either")}
    if wrong:
        print(f"\nKnown, and Esker's fault: {', '.join(sorted(wrong))}")
    for signature, found in sorted(unknown.items(), key=lambda pair: -len(pair[1])):
        one = min(found, key=lambda one: len(json.dumps(one.request)))
        print(f"\n### {len(found)} x {one.operation} against {one.server} ({dict(collections.Counter(one.side for one in found))})\n\n- Esker: {one.esker}\n- {one.server}: {one.other}")
        if one.fields:
            print(f"- at: {one.fields}\n- as: {one.detail}")
        print(f"- request: `{json.dumps(one.request, ensure_ascii=False)[:arguments.width]}`")
    print(f"\n{sum(map(len, unknown.values())):,} answers differ in {len(unknown)} ways that are not known.")
    if arguments.findings:
        with open(arguments.findings, "a", encoding="utf-8") as sink:
            for one in differences:
                sink.write(json.dumps(vars(one), ensure_ascii=False) + "\n")
    return not unknown and not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=5000, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="of the generator")
    parser.add_argument("--only", default="dynoxide,local", help="hold Esker against these")
    parser.add_argument("--ci", action="store_true", help="a short run of fixed seeds, against what the machine can start")
    parser.add_argument("--esker", type=Path, help="this binary instead of one that is built")
    parser.add_argument("--cache", type=Path, help="where the other servers are kept")
    parser.add_argument("--findings", type=Path, help="write every difference into this file, a line of JSON each")
    parser.add_argument("--width", type=int, default=700, help="how much of a request is shown")
    parser.add_argument("--data", help="where the servers' directories are made")
    parser.add_argument("--in-namespace", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.memory = True
    cache = arguments.cache or target() / "compare-dynamodb"
    chosen = ["esker", *(key for key in arguments.only.split(",") if key)]
    if "local" in chosen and arguments.ci and not all(map(shutil.which, ("java", "npm", "unshare"))):
        chosen.remove("local")
    nobody = "no server is left to hold Esker against"
    if len(chosen) == 1:
        sys.exit(nobody)
    if not arguments.in_namespace:
        cache.mkdir(parents=True, exist_ok=True)
        for key in chosen:
            SERVERS[key].install(cache, arguments)
        enter_namespace()
        if chosen == ["esker", "local"]:
            sys.exit(f"DynamoDB Local needs a network namespace, which cannot be made here: {nobody}")
        if "local" in chosen and arguments.ci:
            chosen.remove("local")
        elif "local" in chosen:
            sys.exit("DynamoDB Local needs a network namespace, which cannot be made here: --only dynoxide")
    else:
        loopback_up()
    if arguments.ci:
        arguments.requests = CI_REQUESTS
    if arguments.findings:
        arguments.findings.write_text("", encoding="utf-8")
    is_right = True
    for arguments.seed in CI_SEEDS if arguments.ci else [arguments.seed]:
        runnings, peers = [], []
        try:
            for key in chosen:
                runnings.append(Running(SERVERS[key], cache, arguments))
                peers.append(Peer(key, runnings[-1]))
            found = run(peers, arguments)
        finally:
            for running in runnings:
                running.end()
        is_right &= report(*found, arguments, peers)
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
