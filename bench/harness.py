"""What all measurements share: processes that end with the script, what they cost, and the machine they ran on.

Python's standard library only. Everything listens on loopback; every process is ended by its own pid, also when a
measurement fails; every wait has a deadline.
"""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("MILLRACE_BIN", ROOT / "target/release/millrace"))
TICKS = os.sysconf("SC_CLK_TCK")


def say(text):
    """Progress goes to stderr; stdout is for the rows."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def fail(text):
    say(text)
    sys.exit(1)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Folder:
    """A folder of its own, removed at the end; MILLRACE_BENCH_DIR says on which disk, MILLRACE_BENCH_KEEP keeps it."""

    def __enter__(self):
        parent = os.environ.get("MILLRACE_BENCH_DIR")
        if parent:
            os.makedirs(parent, exist_ok=True)
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="millrace-bench-", dir=parent))
        return self.path

    def __exit__(self, *_):
        if os.environ.get("MILLRACE_BENCH_KEEP"):
            say(f"kept: {self.path}")
        else:
            shutil.rmtree(self.path, ignore_errors=True)


class Process:
    """A program that ends with its `with` block."""

    def __init__(self, name, command, folder):
        self.name = name
        self.command = [str(part) for part in command]
        self.log = pathlib.Path(folder) / f"{name}.log"

    def __enter__(self):
        env = {key: value for key, value in os.environ.items() if not key.startswith("MILLRACE")}
        env["NO_COLOR"] = "1"
        self.started = time.monotonic()
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, within=30):
        """Ends it as an operator does; with SIGKILL where that does not help."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(within)
            except subprocess.TimeoutExpired:
                say(f"{self.name} did not end within {within} s and was killed")
                self.child.kill()
                self.child.wait()
        return self.child.returncode

    def alive(self):
        if self.child.poll() is not None:
            tail = self.log.read_text(errors="replace").splitlines()[-15:]
            fail(f"{self.name} ended with {self.child.returncode}:\n  " + "\n  ".join(tail))

    def cpu_seconds(self):
        """User and system time of all its threads so far."""
        stat = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text()
        fields = stat.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, name):
        """`VmHWM` (most ever), `VmRSS` (now), `RssAnon` (now, without files that are mapped), in bytes."""
        for line in pathlib.Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(name)

    def wait_until_ready(self, port, within=60):
        """Seconds from its start until /readyz answers 200."""
        server = Server(port)
        while time.monotonic() - self.started < within:
            self.alive()
            try:
                if server.get("/readyz")[0] == 200:
                    return time.monotonic() - self.started
            except OSError:
                server.close()
            time.sleep(0.002)
        fail(f"{self.name} was not ready within {within} s; see {self.log}")


class Server:
    """A node's HTTP API over one kept connection. One thread uses it."""

    def __init__(self, port, timeout=30):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def close(self):
        self.connection.close()

    def get(self, path):
        return self.ask("GET", path)

    def ask(self, method, path, body=None):
        try:
            headers = {"content-type": "application/json"} if body else {}
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            self.close()
            raise OSError(error) from error

    def search(self, **parameters):
        status, body = self.ask("POST", "/api/v1/search", json.dumps(parameters))
        if status != 200:
            fail(f"a search answered {status}: {body[:300]!r}")
        return json.loads(body)

    def metrics(self):
        """Every metric, summed over its labels."""
        status, body = self.get("/metrics")
        if status != 200:
            fail(f"/metrics answered {status}")
        values = {}
        for line in body.decode().splitlines():
            if line and not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                name = series.split("{", 1)[0]
                values[name] = values.get(name, 0.0) + float(value)
        return values


class Load:
    """The machine's load average before and after: figures of a busy machine are no figures."""

    def __enter__(self):
        self.before = os.getloadavg()[0]
        return self

    def __exit__(self, *_):
        self.after = os.getloadavg()[0]

    def __str__(self):
        return f"{self.before:.1f} before, {self.after:.1f} after"


def machine():
    """The shape of the machine, as one line."""
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = 0
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            memory = int(line.split()[1]) / (1 << 20)
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({model}), {memory:.0f} GiB RAM, {os.uname().sysname} {os.uname().release}"


def percentile(values, part):
    """The smallest value that `part` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * part // 100) - 1))]


def folder_bytes(path, pattern):
    """The bytes of all files below `path` whose name matches."""
    return sum(file.stat().st_size for file in pathlib.Path(path).rglob(pattern) if file.is_file())


def table(title, rows):
    """One measurement as markdown."""
    print(f"### {title}\n")
    print("| | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    print(flush=True)


def mib(count):
    return f"{count / (1 << 20):.1f} MiB"


def need_binary():
    if not os.access(BINARY, os.X_OK):
        fail(f"{BINARY} is not there: run `cargo build --release` first")


@contextlib.contextmanager
def up_with(corpus, within=300, more="", kept="0"):
    """`millrace up` with all records of a file of JSON lines, taken in, sealed and partly merged: the process, its port, how many.
    `more` is put under its configuration; `kept` is the room for what shards have answered: none, so that what is asked again costs what it costs."""
    with open(corpus, "rb") as lines:
        records = sum(1 for _ in lines)
    with Folder() as folder:
        port = free_port()
        config = folder / "up.toml"
        config.write_text(
            f'[query]\nlisten = "127.0.0.1:{port}"\nkept_results = "{kept}"\n[streams.logs]\nretention = "36500d"\n'
            f'[agent.sources.corpus]\ntype = "file"\ninclude = ["{corpus}"]\nparse = ["json"]\n{more}'
        )
        with Process("up", [BINARY, "up", "--data", folder / "data", "--config", config], folder) as up:
            up.wait_until_ready(port)
            deadline = time.monotonic() + within
            count = f"http://127.0.0.1:{port}/api/v1/search?q=*&from=36000d&limit=0"
            while True:
                with urllib.request.urlopen(count) as answer:
                    if json.load(answer)["total"] == records:
                        break
                if time.monotonic() > deadline:
                    fail("the corpus was not taken in in time")
                time.sleep(1)
            # Merges come to rest.
            time.sleep(30)
            say("asking")
            yield up, port, records
