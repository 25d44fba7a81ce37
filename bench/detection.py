#!/usr/bin/env python3
"""Rules over the stream: how soon somebody is told, how fast a rule is tried over history, and what faults of others cost.

    bench/detection.py [--short] [latency] [backtest] [down] [groups]

Everything is one `millrace up` on this machine. Without names: latency.

latency   attacks amid 1,000 harmless lines a second, the starter rules on: from the line that makes a rule fire to the webhook
backtest  rules tried over 10,000,000 records in shards (--corpus FILE: JSON lines with timestamp, host, service, level, message)
down      one of two receivers is away for ten minutes: what the other notices, and what becomes of what was to be sent
groups    a rule that groups by what is different in each of a million lines: memory, and what other rules notice

--short takes a minute and is for trying it out; its figures are no result.
"""

import argparse
import http.server
import json
import random
import threading
import time
import urllib.parse

from harness import (BINARY, Folder, Load, Process, Server, fail, free_port, machine, mib, need_binary, percentile, say,
                     table, up_with)
from load import Writer

NAMES = ("latency", "backtest", "down", "groups")
TRIES = 8         # failed passwords that make the starter's brute force fire
GIVE_UP = 60      # seconds until an attack counts as not told
BRUTE_FORCE = "5b1f4c55-0f0e-4f0a-9a1e-6d2f5c0b7a01"


class Receiver:
    """A webhook: what alerts were told to fire, and when; by the attacker's address. Ends with its `with` block."""

    def __init__(self, port=None):
        self.port = port or free_port()
        self.told, self.posts, self.others = {}, {}, {}

    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.take(time.monotonic_ns(), self.headers["idempotency-key"], json.loads(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def take(self, now, key, body):
        self.posts[key] = self.posts.get(key, 0) + 1
        for alert in body["alerts"]:
            address = alert["group"].get("source_ip")
            if body["status"] != "firing":
                continue
            if alert["rule_id"] == BRUTE_FORCE and address:
                self.told.setdefault(address, now)
            else:
                self.others[alert["title"]] = self.others.get(alert["title"], 0) + 1


class Attacks:
    """Writes attacks, each in one write, and knows when."""

    def __init__(self, log):
        self.log, self.written, self.random = log, {}, random.Random(1)
        log.parent.mkdir(exist_ok=True)
        log.touch()

    def attack(self):
        nth = len(self.written)
        address = f"198.18.{nth // 250}.{nth % 250 + 1}"
        line = f"sshd[{nth % 32768}]: Failed password for root from {address} port {{}} ssh2\n"
        text = "".join(line.format(port) for port in range(TRIES)).encode()
        with open(self.log, "ab", buffering=0) as out:
            self.written[address] = time.monotonic_ns()
            out.write(text)

    def run(self, count, every):
        """So many, about so many seconds apart; never in step with anything."""
        for _ in range(count):
            self.attack()
            time.sleep(every * self.random.uniform(0.5, 1.5))

    def wait_until_told(self, receiver, within=GIVE_UP):
        deadline = time.monotonic() + within
        while len(receiver.told) < len(self.written) and time.monotonic() < deadline:
            time.sleep(0.1)
        return len(receiver.told)

    def latencies(self, receiver):
        return [(receiver.told[address] - at) / 1e6 for address, at in self.written.items() if address in receiver.told]


class Up:
    """`millrace up` that watches a folder, with receivers and rules; ends with its `with` block."""

    def __init__(self, folder, receivers, more=""):
        self.folder, self.port, self.logs = folder, free_port(), folder / "logs"
        self.logs.mkdir()
        told = "".join(f'[query.alerts.receivers.{name}]\ntype = "webhook"\nurl = "{url}"\nper_minute = 60000\n'
                       for name, url in receivers.items())
        self.config = folder / "up.toml"
        self.config.write_text(f'[agent.sources.logs]\ntype = "file"\ninclude = ["{self.logs}/*.log"]\n{told}{more}')

    def __enter__(self):
        command = [BINARY, "up", "--data", self.folder / "data", "--listen", f"127.0.0.1:{self.port}", "--config", self.config]
        self.process = Process("up", command, self.folder)
        self.process.__enter__()
        self.process.wait_until_ready(self.port)
        return self

    def __exit__(self, *_):
        self.process.stop()

    def series(self, name):
        """The values of a metric by its labels, as they are written."""
        text = Server(self.port).get("/metrics")[1].decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name)}

    def logged(self, text):
        return sum(text in line for line in self.process.log.read_text(errors="replace").splitlines())


def spread(latencies):
    return [(name, f"{percentile(latencies, part):.0f} ms") for name, part in (("p50", 50), ("p99", 99), ("max", 100))]


def latency(options):
    attacks, every, rate = (20, 0.4, 1000) if options.short else (400, 0.4, 1000)
    with Folder() as folder, Load() as load, Receiver() as receiver:
        with Up(folder, {"ops": receiver.url()}) as up:
            attack = Attacks(up.logs / "auth.log")
            seconds = attacks * every * 1.2 + 5
            say(f"{attacks} attacks amid {rate:,} lines/s")
            with Writer(up.logs, rate, seconds) as writer:
                time.sleep(3)
                cpu, begun = up.process.cpu_seconds(), time.monotonic()
                attack.run(attacks, every)
                took, cpu = time.monotonic() - begun, up.process.cpu_seconds() - cpu
                told = attack.wait_until_told(receiver)
                written, late = writer.follow()
            latencies = attack.latencies(receiver)
            rss = up.process.memory("VmHWM")
            rules = len(json.loads(Server(up.port).get("/api/v1/rules")[1])["rules"])
    table(f"Detection, line written to webhook received, {rate:,} lines/s beside", [
        *spread(latencies),
        ("attacks told / not told / told again", f"{told} / {attacks - told} / {sum(receiver.posts.values()) - len(receiver.posts)}"),
        ("other alerts", ", ".join(f"{title}: {count}" for title, count in receiver.others.items()) or "none"),
        ("rules", f"{rules}, the starter pack"),
        ("harmless lines, latest write", f"{written:,}, {late:.0f} ms"),
        ("CPU of `millrace up`", f"{cpu:.1f} s = {cpu / took:.2f} cores"),
        ("RSS at most", mib(rss)),
        ("load average", str(load)),
        ("machine", machine()),
    ])


TRIED = {
    "a rare word": "kind: threshold\nquery: 'zk8q1w7x'\nthreshold: { count: 1, window: 1m }\n",
    "a phrase: failed passwords by address":
        "kind: threshold\nquery: '\"Failed password for\"'\nextract: 'Failed \\S+ for .* from (?P<source_ip>\\S+) port \\d+'\n"
        "threshold: { count: 8, window: 2m, group_by: [source_ip] }\n",
    "all records, a Sigma rule": "logsource: {}\ndetection:\n  s: { message|contains|all: [denied, passw0rd] }\n  condition: s\n",
    "all records, a count by host": "kind: threshold\nquery: '*'\nthreshold: { count: 1000, window: 1m, group_by: [host] }\n",
    "the same, with windows of an hour": "kind: threshold\nquery: '*'\nthreshold: { count: 100000, window: 1h, group_by: [host] }\n",
}


def backtest(options):
    if not options.corpus:
        fail("backtest needs --corpus FILE")
    with Folder() as folder:
        for nth, (title, text) in enumerate(TRIED.items()):
            (folder / f"{nth}.yml").write_text(f"title: {json.dumps(title)}\nid: tried-{nth}\nlevel: low\n{text}")
        # They are tried over history; nothing is evaluated as it comes in.
        more = f'[query.alerts]\nenabled = false\nstarter = false\nrules = ["{folder}"]\n'
        with up_with(options.corpus, within=3600, more=more) as (up, port, records), Load() as load:
            rows, since = [], urllib.parse.quote("2000-01-01T00:00:00Z")
            for nth, title in enumerate(TRIED):
                cpu, begun = up.cpu_seconds(), time.monotonic()
                path = f"/api/v1/rules/tried-{nth}/backtest?from={since}"
                status, body = Server(port, timeout=1200).get(path)
                took, cpu = time.monotonic() - begun, up.cpu_seconds() - cpu
                if status != 200:
                    rows.append((title, f"refused with {status} after {took:.0f} s, {cpu:.1f} CPU-s"))
                    continue
                told = json.loads(body)
                if told["partial"]:
                    fail(f"{title}: the answer lacks something: {told['missing']}")
                tried = told["records"]
                rows.append((title, f"{took:.1f} s, {cpu:.1f} CPU-s; {tried:,} tried, {tried / took:,.0f} a second, {tried / max(cpu, 0.01):,.0f} a CPU-s; "
                                    f"{records / took:,.0f} a second of all; {told['findings']:,} findings"))
            rss = up.memory("VmHWM")
    table(f"Backtests over {records:,} records", [
        *rows, ("RSS at most, taking them in included", mib(rss)), ("load average", str(load)), ("machine", machine())])


def down(options):
    away, every = (40, 2) if options.short else (600, 10)
    gone = Receiver()
    with Folder() as folder, Load() as load, Receiver() as there:
        with Up(folder, {"there": there.url(), "gone": gone.url()}) as up:
            attack = Attacks(up.logs / "auth.log")
            say(f"one receiver is away for {away} s")
            attack.run(away // every, every)
            attack.wait_until_told(there)
            latencies = attack.latencies(there)
            failed = {series.split("outcome=")[1].strip('"}'): int(count)
                      for series, count in up.series("millrace_query_notifications_total").items() if 'receiver="gone"' in series}
            logged = up.logged("a notification was not delivered")
            with gone:
                back = time.monotonic()
                attack.attack()
                newest = list(attack.written)[-1]
                told = attack.wait_until_told(gone, within=60 if options.short else 1200)
                soon = (gone.told[newest] - attack.written[newest]) / 1e6 if newest in gone.told else None
                last = (max(gone.told.values()) / 1e9 - back) if gone.told else None
                again = sum(gone.posts.values()) - len(gone.posts)
    table(f"Detection, one of two receivers away for {away} s", [
        *((f"the other: {name}", value) for name, value in spread(latencies)),
        ("the other: alerts told, again", f"{len(there.told)} of {len(attack.written)}, {sum(there.posts.values()) - len(there.posts)}"),
        ("attempts meanwhile, by outcome; lines in the log", f"{failed}, {logged}"),
        ("back again: what came then was told after", "not at all" if soon is None else f"{soon:.0f} ms"),
        ("back again: all that had waited was told after", f"{last:.0f} s" if last is not None else "not at all"),
        ("told in the end, again", f"{told} of {len(attack.written)}, {again}"),
        ("load average", str(load)),
        ("machine", machine()),
    ])


def groups(options):
    keys = 50_000 if options.short else 1_000_000
    rule = ("title: Sessions\nid: sessions\nkind: threshold\nlevel: low\nquery: '\"session opened\"'\nextract: 'key=(?P<key>\\S+)'\n"
            "threshold: { count: 3, window: 10m, group_by: [key] }\n")
    with Folder() as folder, Load() as load, Receiver() as receiver:
        (folder / "rules").mkdir()
        (folder / "rules" / "sessions.yml").write_text(rule)
        with Up(folder, {"ops": receiver.url()}, f'[query.alerts]\nrules = ["{folder}/rules"]\n') as up:
            attack = Attacks(up.logs / "auth.log")
            server = Server(up.port)
            attack.attack()
            attack.wait_until_told(receiver)
            before = up.process.memory("VmRSS")
            say(f"{keys:,} groups")
            cpu, begun = up.process.cpu_seconds(), time.monotonic()
            with open(up.logs / "app.log", "ab", buffering=1 << 20) as log:
                for nth in range(keys):
                    log.write(f"app: session opened, key={nth * 2654435761 % (1 << 32):08x}{nth:08x}\n".encode())
                    if nth % (keys // 20) == 0:
                        attack.attack()
            most = before
            evaluated = lambda: server.metrics()["millrace_query_evaluated_records_total"]
            deadline = time.monotonic() + 600
            while evaluated() < keys and time.monotonic() < deadline:
                most = max(most, up.process.memory("VmRSS"))
                time.sleep(0.2)
            took, cpu = time.monotonic() - begun, up.process.cpu_seconds() - cpu
            attack.run(20, 0.5)
            told = attack.wait_until_told(receiver)
            latencies = attack.latencies(receiver)
            evicted = {series: value for series, value in up.series("millrace_query_").items() if "evicted" in series}
            answered = Server(up.port).get("/readyz")[0]
    table(f"Detection, a rule with {keys:,} groups", [
        ("all of them taken in and evaluated after", f"{took:.1f} s, {cpu:.1f} CPU-s"),
        ("RSS before, at most meanwhile", f"{mib(before)}, {mib(max(most, before))}"),
        ("metrics of what was forgotten", ", ".join(f"`{series}` {value:,.0f}" for series, value in evicted.items() if value) or "none"),
        ("another rule's attacks told", f"{told} of {len(attack.written)}"),
        *((f"another rule's: {name}", value) for name, value in spread(latencies)),
        ("ready at the end", str(answered == 200)),
        ("load average", str(load)),
        ("machine", machine()),
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(NAMES))
    parser.add_argument("--short", action="store_true", help="a try, no result")
    parser.add_argument("--corpus", help="the records of backtest")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"unknown: {name}; known: {' '.join(NAMES)}")
    need_binary()
    for name in options.names or NAMES[:1]:
        globals()[name](options)


if __name__ == "__main__":
    main()
