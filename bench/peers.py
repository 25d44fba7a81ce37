#!/usr/bin/env python3
"""Other shippers beside ours: each reads the same file of lines into a topic of its own on the same real Kafka, one after the other.

    bench/peers.py [--lines 2000000] [--corpus FILE] [--runs 3]

rsyslog is Debian's (`apt-get install rsyslog rsyslog-kafka`); Fluent Bit is measured where FLUENT_BIT names its program. All of
them ship lines as they are, compressed with zstd, acknowledged by all replicas. rsyslog and Fluent Bit keep no position here, which
is their best case; ours keeps it, and proves what it shipped. A run counts only if the topic has as many records as the file lines.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import time

from harness import BINARY, Folder, Load, Process, Server, fail, free_port, machine, mib, need_binary, say, table
from kafka import Broker

DEADLINE = 600  # seconds for one run
RSYSLOG = "/usr/sbin/rsyslogd"


class Counted:
    """The messages of a topic, as the files of its one broker have them: by the headers of their batches."""

    def __init__(self, broker, topic):
        self.broker, self.topic = broker, topic
        self.at, self.ends = {}, {}

    def __call__(self):
        for file in self.broker.data.glob(f"{self.topic}-[0-9]*/*.log"):
            with open(file, "rb") as log:
                at = self.at.get(file, 0)
                while True:
                    log.seek(at)
                    header = log.read(27)
                    if len(header) < 27:
                        break
                    base, length = struct.unpack(">qi", header[:12])
                    last = struct.unpack(">i", header[23:27])[0]
                    if length <= 0 or at + 12 + length > file.stat().st_size:
                        break
                    self.ends[file.parent] = base + last + 1
                    at += 12 + length
                self.at[file] = at
        return sum(self.ends.values())


def ours(folder, broker, corpus, topic, lines):
    port = free_port()
    config = folder / f"{topic}.toml"
    config.write_text(
        f'[agent]\nstate_dir = "{folder}/{topic}-state"\nlisten = "127.0.0.1:{port}"\nheartbeat = "0s"\n'
        f'[agent.sources.corpus]\ntype = "file"\ninclude = ["{corpus}"]\nparse = ["none"]\n'
        f'[topic]\ntype = "kafka"\nbrokers = ["{broker.address}"]\nname = "{topic}"\npartitions = 4\nreplication = 1\n')
    with Process("millrace", [BINARY, "agent", "--config", config], folder) as agent:
        agent.wait_until_ready(port)
        server = Server(port)
        while server.metrics().get("millrace_agent_shipped_records_total", 0) < lines:
            agent.alive()
            if time.monotonic() - agent.started > DEADLINE:
                fail(f"the agent is not done within {DEADLINE} s")
            time.sleep(0.05)
        return {"wall": time.monotonic() - agent.started, "cpu": agent.cpu_seconds(), "rss": agent.memory("VmHWM")}


def other(process, broker, topic, lines):
    count = Counted(broker, topic)
    with process:
        while count() < lines:
            process.alive()
            if time.monotonic() - process.started > DEADLINE:
                fail(f"{process.name}: the topic has {count():,} records, the file {lines:,} lines")
            time.sleep(0.1)
        return {"wall": time.monotonic() - process.started, "cpu": process.cpu_seconds(), "rss": process.memory("VmHWM")}


def rsyslog(folder, broker, corpus, topic, lines):
    work = folder / f"{topic}-work"
    work.mkdir()
    config = folder / f"{topic}.conf"
    config.write_text(
        f'global(workDirectory="{work}" maxMessageSize="64k")\n'
        'module(load="imfile")\nmodule(load="omkafka")\n'
        'template(name="line" type="string" string="%msg%")\n'
        'main_queue(queue.type="LinkedList" queue.size="200000" queue.dequeueBatchSize="4096" queue.timeoutEnqueue="600000")\n'
        f'input(type="imfile" File="{corpus}" Tag="bench" ruleset="ship" readMode="0")\n'
        'ruleset(name="ship") {\n'
        f'  action(type="omkafka" broker=["{broker.address}"] topic="{topic}" template="line" partitions.auto="on" resubmitOnFailure="on" action.resumeRetryCount="-1" action.resumeInterval="1"\n'
        '    confParam=["compression.codec=zstd","queue.buffering.max.messages=400000","acks=all","linger.ms=5"])\n}\n')
    return other(Process("rsyslog", [RSYSLOG, "-n", "-f", config, "-i", work / "pid"], folder), broker, topic, lines)


def fluent_bit(folder, broker, corpus, topic, lines):
    config = folder / f"{topic}.conf"
    config.write_text(
        "[SERVICE]\n    flush 0.2\n    grace 5\n    log_level warn\n"
        f"[INPUT]\n    name tail\n    path {corpus}\n    read_from_head on\n    mem_buf_limit 64m\n    buffer_max_size 1m\n"
        f"[OUTPUT]\n    name kafka\n    match *\n    brokers {broker.address}\n    topics {topic}\n    format raw\n    raw_log_key log\n"
        "    rdkafka.compression.codec zstd\n    rdkafka.acks all\n    rdkafka.queue.buffering.max.messages 400000\n")
    return other(Process("fluent-bit", [os.environ["FLUENT_BIT"], "-c", config], folder), broker, topic, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=2_000_000)
    parser.add_argument("--corpus", type=pathlib.Path, help="a file of lines that is there already")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    need_binary()
    tools = {"millrace agent": ours}
    if pathlib.Path(RSYSLOG).exists():
        tools["rsyslog (imfile, omkafka)"] = rsyslog
    if shutil.which(os.environ.get("FLUENT_BIT", "")):
        tools["Fluent Bit (tail, kafka)"] = fluent_bit
    with Folder() as folder:
        corpus, whose = options.corpus, options.corpus and options.corpus.name
        if not corpus:
            corpus, whose = folder / "corpus.jsonl", "bench/corpus.py"
            command = [sys.executable, pathlib.Path(__file__).with_name("corpus.py"), "-n", str(options.lines), "--json", corpus]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        with open(corpus, "rb") as file:
            lines = sum(1 for _ in file)
        raw = corpus.stat().st_size
        runs = {name: [] for name in tools}
        with Load() as load, Broker(folder, "\nauto.create.topics.enable=true\nnum.partitions=4\n") as broker:
            for nth in range(options.runs):
                for at, (name, run) in enumerate(tools.items()):
                    topic = f"bench-{nth}-{at}"
                    say(f"{name}, run {nth + 1}")
                    runs[name].append(run(folder, broker, corpus.resolve(), topic, lines))
        rows = [("input", f"one file, {lines:,} lines, {raw / 1e6:.1f} MB, by `{whose}`")]
        for name, all_runs in runs.items():
            middle = {key: statistics.median(run[key] for run in all_runs) for key in ("wall", "cpu", "rss")}
            rows.append((name, f"a CPU-second ships {raw / middle['cpu'] / 1e6:.0f} MB, {lines / middle['cpu']:,.0f} lines; "
                               f"{lines / middle['wall']:,.0f} lines/s; {mib(middle['rss'])} at most"))
        rows += [("runs", f"{options.runs} of each in turn, medians"), ("load average", str(load)), ("machine", machine())]
        table("Shippers beside one another, lines as they are into Kafka (zstd, acks=all)", rows)


if __name__ == "__main__":
    main()
