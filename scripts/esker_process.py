"""A server process for the scripts: started on a port of its own choice, found by what it prints, ended by its pid.

Used by real_input.py and by .ci/run's checks. It never ends a process that it has not started.
"""

import http.client
import json
import re
import signal
import subprocess
import time

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)\b")


class Server:
    """`esker serve` on 127.0.0.1, its data in `data_dir`, its output in `log`."""

    def __init__(self, binary, data_dir, log):
        self.binary, self.data_dir, self.log = str(binary), str(data_dir), log
        self.process, self.port = None, None

    def start(self):
        """Starts the server and returns the seconds until it answered."""
        began = time.monotonic()
        with open(self.log, "ab") as sink:
            printed = sink.tell()
            self.process = subprocess.Popen(
                [self.binary, "serve", "--host", "127.0.0.1", "--port", "0", "--data-dir", self.data_dir],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
            )
        while True:
            with open(self.log, "rb") as source:
                source.seek(printed)
                text = source.read().decode("utf-8", "replace")
            found = ADDRESS.search(text)
            # A line that is being written may still lack digits.
            if found and "\n" in text[found.start():]:
                self.port = int(found.group(1))
                break
            if self.process.poll() is not None or time.monotonic() - began > 120:
                self.kill()
                raise RuntimeError(f"the server printed no address:\n{text}")
            time.sleep(0.01)
        Wire(self.port).call("ListTables", {})
        return time.monotonic() - began

    @property
    def endpoint(self):
        """The address, for clients."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self):
        """SIGKILL: the process gets no chance to finish anything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        """SIGTERM, and its exit code, which has to be 0."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=120)
        self.process = None
        return code


class WireError(Exception):
    """An answer that is not a success."""


class Wire:
    """One keep-alive connection that speaks the protocol directly: light enough to load the server."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, operation, request):
        """Runs one operation; the parsed answer, or WireError, or the network's own error."""
        body = json.dumps(request, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, "
            "SignedHeaders=host;x-amz-date;x-amz-target, Signature=00",
        }
        self.connection.request("POST", "/", body, headers)
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise WireError(f"{operation}: {response.status}: {answer.decode('utf-8', 'replace')}")
        return json.loads(answer)
