#!/usr/bin/env python3
"""The middle of the race: what an indexer holds, how soon it is back, and what publishing costs.

    bench/indexer.py [--short] [sustained] [freshness] [restart] [handover] [sources] [bucket]

Each role is a process of its own over a real Kafka on this machine (`make parts` brings it). Without names: all.

sustained  the highest rate that the whole box holds: tried upwards, then held for 10 minutes
freshness  from write to hit at half of that rate (or --rate), for 5 minutes
restart    an indexer starts with 2 GB of lines unread: when is searching possible again?
handover   one of two indexers is ended under load: when is every partition answered for again? Once by SIGTERM, once by SIGKILL
sources    the same rate out of 1, 100 and 10,000 files: what of the CPU goes into publishing?
bucket     searches over 100 shards in a bucket, cold and warm (tests/afar.rs; needs cargo)

--short takes a few minutes and is for trying it out; its figures are no result.
"""

import argparse
import contextlib
import pathlib
import shutil
import subprocess
import threading
import time

import freshness
from harness import (BINARY, ROOT, TICKS, Folder, Load, Process, Server, fail, folder_bytes, free_port, machine, mib,
                     need_binary, say, table)
from kafka import Broker
from load import Writer

TOPIC = "bench.logs"
PARTITIONS = 4
NAMES = ("sustained", "freshness", "restart", "handover", "sources", "bucket")


class World:
    """An agent, indexers and a query node over one broker; none runs until it is entered."""

    def __init__(self, folder, broker, indexers=1):
        self.folder, self.broker = folder, broker
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.ports = {name: free_port() for name in ["agent", "query", *[f"indexer-{n}" for n in range(indexers)]]}

    def settings(self, role):
        kind = role.split("-")[0]
        text = f"""
[{kind}]
listen = "127.0.0.1:{self.ports[role]}"
"""
        if kind == "agent":
            text += f"""state_dir = "{self.folder}/agent"
[agent.sources.load]
type = "file"
include = ["{self.logs}/*.log"]
"""
        text += f"""
[query.alerts]
enabled = false
[topic]
type = "kafka"
brokers = ["{self.broker.address}"]
name = "{TOPIC}"
partitions = {PARTITIONS}
replication = 1
[catalogue]
url = "sqlite://{self.folder}/catalogue.db"
[storage]
url = "file://{self.folder}/shards"
"""
        path = self.folder / f"{role}.toml"
        path.write_text(text)
        return path

    def role(self, role):
        """The role's process, not started yet."""
        return Process(role, [BINARY, role.split("-")[0], "--config", self.settings(role)], self.folder)

    @contextlib.contextmanager
    def running(self, *roles):
        with contextlib.ExitStack() as stack:
            processes = {role: stack.enter_context(self.role(role)) for role in roles}
            for role, process in processes.items():
                process.wait_until_ready(self.ports[role])
            yield processes

    def metric(self, role, name):
        return Server(self.ports[role]).metrics().get(name, 0.0)

    def wait_for(self, what, done, process, within):
        deadline = time.monotonic() + within
        while not done():
            process.alive()
            if time.monotonic() > deadline:
                fail(f"{what}: not within {within} s")
            time.sleep(0.1)

    def warm(self):
        """Has one line go all the way, so that connections are made before anything is measured."""
        (self.logs / "first.log").write_text(freshness.FIRST + "\n")
        if freshness.wait_for_total(Server(self.ports["query"]), freshness.FIRST, 1, 30) != 1:
            fail("the first line is not found")

    def taken(self, indexers=("indexer-0",)):
        return sum(self.metric(indexer, "millrace_indexer_records_total") for indexer in indexers)


@contextlib.contextmanager
def world(indexers=1):
    with Folder() as folder, Broker(folder) as broker:
        yield World(folder, broker, indexers)


def files_below(path):
    return sum(1 for file in pathlib.Path(path).rglob("*") if file.is_file())


class Samples(threading.Thread):
    """Looks at the indexer once a second: memory, files, and how far it is behind the writer."""

    def __init__(self, run, processes):
        super().__init__(daemon=True)
        self.run_, self.process = run, processes["indexer-0"]
        self.over = threading.Event()
        self.rss, self.anonymous, self.files = [], [], []

    def run(self):
        while not self.over.wait(1.0):
            try:
                self.rss.append(self.process.memory("VmRSS"))
                self.anonymous.append(self.process.memory("RssAnon"))
                self.files.append(files_below(self.run_.folder / "shards"))
            except (OSError, KeyError):
                return


def hold(rate, seconds):
    """Writes at a rate and returns what came of it."""
    with world() as run, run.running("indexer-0", "query", "agent") as processes:
        samples = Samples(run, processes)
        cpu = {role: process.cpu_seconds() for role, process in processes.items()}
        kafka = run.broker.process.cpu_seconds()
        samples.start()
        begun = time.monotonic()
        with Writer(run.logs, rate, seconds) as writer:
            written, late = writer.follow()
        wrote = time.monotonic() - begun
        taken = run.taken()
        run.wait_for("the rest is taken in", lambda: run.taken() >= written, processes["indexer-0"], 600)
        caught_up = time.monotonic() - begun - wrote
        samples.over.set()
        found = freshness.wait_for_total(Server(run.ports["query"]), "*", written, 60)
        if found != written:
            fail(f"{found:,} records are found, {written:,} lines were written")
        took = time.monotonic() - begun
        return {
            "rate": written / wrote, "written": written, "late": late, "behind": written - taken, "caught_up": caught_up,
            "cpu": {role: (process.cpu_seconds() - cpu[role]) / took for role, process in processes.items()},
            "kafka": (run.broker.process.cpu_seconds() - kafka) / took, "samples": samples,
            "agent": processes["agent"].memory("VmHWM"), "shards": folder_bytes(run.folder / "shards", "*"),
        }


def holds(found, rate):
    """Was the writer on time, and the indexer at most two seconds behind at the end?"""
    return found["late"] < 1_000 and found["rate"] > rate * 0.97 and found["caught_up"] < 2.5


def sustainable(options):
    rate, best = options.first, None
    while True:
        say(f"trying {rate:,} lines/s for {options.trial} s")
        found = hold(rate, options.trial)
        good = holds(found, rate)
        say(f"{'held' if good else 'not held'}: {found['rate']:,.0f} lines/s, behind by {found['behind']:,.0f}, "
            f"caught up in {found['caught_up']:.1f} s, latest write {found['late']:.0f} ms")
        if not good:
            if best is None:
                fail("not even the first rate is held")
            return best
        best, rate = rate, int(rate * 1.25)


def part(values, at):
    """The largest of the tenth of the values that begins at a tenth `at`."""
    size = max(1, len(values) // 10)
    return max(values[at * size:(at + 1) * size] or [0])


def sustained(options):
    with Load() as load:
        rate = options.rate or sustainable(options)
        seconds = options.sustained_seconds
        say(f"holding {rate:,} lines/s for {seconds} s")
        found = hold(rate, seconds)
    samples = found["samples"]
    table(f"Sustained through Kafka, {rate:,} lines/s for {seconds} s", [
        ("held", "yes" if holds(found, rate) else "NO"),
        ("lines written and found", f"{found['written']:,}"),
        ("behind when the writer ended; caught up after", f"{found['behind']:,.0f} lines; {found['caught_up']:.1f} s"),
        ("indexer: RSS in the second and the last tenth, at most", f"{mib(part(samples.rss, 1))}, {mib(part(samples.rss, 9))}; "
         f"{mib(max(samples.rss))}"),
        ("indexer: of it anonymous", f"{mib(part(samples.anonymous, 1))}, {mib(part(samples.anonymous, 9))}"),
        ("files of shards in the second and the last tenth", f"{part(samples.files, 1)}, {part(samples.files, 9)}"),
        ("bytes of shards", mib(found["shards"])),
        ("cores: agent, indexer, query, broker", ", ".join(
            f"{cores:.2f}" for cores in [found["cpu"]["agent"], found["cpu"]["indexer-0"], found["cpu"]["query"], found["kafka"]])),
        ("load average", str(load)), ("machine", machine()),
    ])
    return rate


def fresh(options, rate):
    seconds = options.fresh_seconds
    say(f"freshness at {rate:,} lines/s for {seconds} s")
    with Load() as load, world() as run, run.running("indexer-0", "query", "agent") as processes:
        run.warm()
        with freshness.Pollers(run.ports["query"]) as pollers, Writer(run.logs, rate, seconds, every=0.25) as writer:
            written, late = writer.follow(lambda word, at: pollers.words.put((word, at)))
        found = freshness.wait_for_total(Server(run.ports["query"]), "*", written + 1, 60) - 1
        merges = run.metric("indexer-0", "millrace_indexer_merges_total")
        cuts = run.metric("indexer-0", "millrace_indexer_cuts_total")
        rss = processes["indexer-0"].memory("VmHWM")
    table(f"Freshness through Kafka, write to hit, {rate:,} lines/s for {seconds} s", [
        *freshness.times(pollers.found()),
        ("lines written / found", f"{written:,} / {found:,}"), ("latest write", f"{late:.0f} ms"),
        ("cuts, merges meanwhile", f"{cuts:.0f}, {merges:.0f}"), ("indexer: RSS at most", mib(rss)),
        ("load average", str(load)), ("machine", machine()),
    ])


def restart(options):
    size = options.unread
    with Load() as load, world() as run:
        say(f"{size / 1e9:.1f} GB of lines are shipped, and nobody reads them")
        block = pathlib.Path(run.folder / "block")
        with Writer(run.folder, 50_000, 1.0) as writer:
            writer.follow()
        (run.folder / "load-0.log").rename(block)
        lines = block.read_bytes().count(b"\n")
        copies = -(-size // block.stat().st_size)
        with open(run.logs / "unread.log", "wb") as log:
            for _ in range(copies):
                log.write(block.read_bytes())
        with run.running("agent") as processes:
            shipped = lambda: run.metric("agent", "millrace_agent_shipped_records_total") >= lines * copies
            run.wait_for("the lines are shipped", shipped, processes["agent"], 900)
        with run.running("query"):
            server = Server(run.ports["query"])
            with run.role("indexer-0") as indexer:
                ready = indexer.wait_until_ready(run.ports["indexer-0"])
                # It answers for what it holds, and says what it lacks.
                while not server.search(q="*", limit=1)["hits"]:
                    indexer.alive()
                    time.sleep(0.01)
                first = time.monotonic() - indexer.started
                run.wait_for("all is taken in", lambda: run.taken() >= lines * copies, indexer, 1800)
                whole = time.monotonic() - indexer.started
                cpu, rss = indexer.cpu_seconds(), indexer.memory("VmHWM")
                found = freshness.wait_for_total(server, "*", lines * copies, 60)
    table(f"Restart with {size / 1e9:.1f} GB unread ({lines * copies:,} lines)", [
        ("ready", f"{ready:.2f} s"), ("first hits (partial, with the lag)", f"{first:.2f} s"),
        ("everything searchable", f"{whole:.1f} s = {lines * copies / whole:,.0f} lines/s"),
        ("indexer: a CPU-second takes", f"{lines * copies / cpu:,.0f} lines"), ("indexer: RSS at most", mib(rss)),
        ("found at the end", f"{found:,}"), ("load average", str(load)), ("machine", machine()),
    ])


def handover(options):
    rows = []
    with Load() as load, world(indexers=2) as run:
        both = ("indexer-0", "indexer-1")
        (run.logs / "known.log").write_text("".join(f"known line {nth}\n" for nth in range(10_000)))
        with run.running("query", "agent", *both):
            if freshness.wait_for_total(Server(run.ports["query"]), "known", 10_000, 60) != 10_000:
                fail("the known lines are not all found")
        for way in ("SIGTERM", "SIGKILL"):
            with run.running("query", "agent", *both) as processes, \
                    Writer(run.logs, options.handover_rate, options.handover_seconds) as writer:
                server = Server(run.ports["query"])
                follower = threading.Thread(target=writer.follow, daemon=True)
                follower.start()
                time.sleep(10)
                leaving = processes["indexer-0"]
                begun = time.monotonic()
                leaving.child.send_signal(15 if way == "SIGTERM" else 9)
                answers, partial, wrong, last_partial = 0, 0, 0, 0.0
                while time.monotonic() - begun < 25:
                    answer = server.search(q="known", limit=0)
                    answers += 1
                    now = time.monotonic() - begun
                    if answer["partial"]:
                        partial, last_partial = partial + 1, now
                    elif answer["total"] != 10_000:
                        wrong += 1
                    time.sleep(0.01)
                leaving.child.wait(30)
                follower.join(options.handover_seconds + 30)
                rows += [(f"{way}: whole answers again after", f"{last_partial:.2f} s"),
                         (f"{way}: answers, partial, wrong", f"{answers}, {partial}, {wrong}")]
    table(f"Handover of two partitions at {options.handover_rate:,} lines/s", [
        *rows, ("load average", str(load)), ("machine", machine())])


def thread_cpu(process, name):
    """CPU seconds of the threads whose name begins like this."""
    total = 0
    for task in pathlib.Path(f"/proc/{process.child.pid}/task").iterdir():
        if (task / "comm").read_text().startswith(name):
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def sources(options):
    rows = []
    lines = int(options.sources_rate * options.sources_seconds)
    with Load() as load:
        for files in options.files:
            say(f"{files:,} files, {options.sources_rate:,} lines/s for {options.sources_seconds} s")
            with world() as run:
                for nth in range(files):
                    (run.logs / f"load-{nth}.log").write_text("a first line\n")
                with run.running("indexer-0", "query", "agent") as processes:
                    indexer = processes["indexer-0"]
                    run.wait_for("all files are known", lambda: run.taken() >= files, indexer, 300)
                    time.sleep(35)
                    cpu, database = indexer.cpu_seconds(), thread_cpu(indexer, "sqlx-sqlite")
                    with Writer(run.logs, options.sources_rate, options.sources_seconds, files) as writer:
                        written, _ = writer.follow()
                    run.wait_for("all is taken in", lambda: run.taken() >= files + written, indexer, 120)
                    time.sleep(35)
                    cpu, database = indexer.cpu_seconds() - cpu, thread_cpu(indexer, "sqlx-sqlite") - database
                    rows.append((files, cpu, database, indexer.memory("VmHWM")))
    base = rows[0][1] - rows[0][2]
    table(f"Publishing, {options.sources_rate:,} lines/s for {options.sources_seconds} s (about {lines:,} lines)", [
        *[(f"{files:,} sources: indexer's CPU, of it the database; beyond one source's; RSS at most",
           f"{cpu:.2f} s, {database / cpu:.1%}; {max(0.0, cpu - database - base) / cpu:.1%}; {mib(rss)}")
          for files, cpu, database, rss in rows],
        ("load average", str(load)), ("machine", machine())])


def bucket(_):
    if not shutil.which("cargo"):
        fail("cargo is not there")
    done = subprocess.run(["cargo", "test", "--release", "--workspace", "--test", "afar", "--", "--ignored", "--nocapture"],
                          cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800)
    if done.returncode != 0:
        fail(done.stdout + done.stderr)
    print("### Searches over 100 shards in a bucket\n")
    print("\n".join(line for line in done.stdout.splitlines() if line.strip() and not line.startswith(("running", "test "))))
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(NAMES))
    parser.add_argument("--short", action="store_true", help="a try, no result")
    parser.add_argument("--rate", type=int, help="the sustainable rate, instead of looking for it")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"unknown: {name}; known: {' '.join(NAMES)}")
    short = options.short
    options.first, options.trial = (20_000, 10) if short else (40_000, 60)
    options.sustained_seconds = 20 if short else 600
    options.fresh_seconds = 15 if short else 300
    options.unread = 100_000_000 if short else 2_000_000_000
    options.handover_rate, options.handover_seconds = 5_000, 40
    options.files = [1, 100, 1_000] if short else [1, 100, 10_000]
    options.sources_rate, options.sources_seconds = 10_000, 20 if short else 120
    need_binary()
    names = options.names or NAMES
    rate = options.rate
    if "sustained" in names:
        rate = sustained(options)
    if "freshness" in names:
        if rate is None:
            rate = sustainable(options)
        fresh(options, rate // 2)
    for name, measure in (("restart", restart), ("handover", handover), ("sources", sources), ("bucket", bucket)):
        if name in names:
            measure(options)


if __name__ == "__main__":
    main()
