#!/usr/bin/env python3
"""Throughput through a real Kafka: what an agent and an indexer cost for a line, and what is stored of it.

    bench/throughput.py [--lines 2000000] [--corpus FILE.jsonl]

An agent reads one file of JSON lines into a topic (acks=all, zstd); when all is acknowledged it ends, and an indexer
reads the topic until every record is published in sealed shards. Both run alone beside the broker, so a CPU-second is
theirs. Then a query node counts the records: the figures are printed only if each line is found.
"""

import argparse
import contextlib
import os
import pathlib
import sqlite3
import subprocess
import sys
import time

from harness import (BINARY, Folder, Load, Process, Server, fail, folder_bytes, free_port, machine, mib, need_binary,
                     say, table)
from kafka import Broker

TOPIC = "bench.logs"
DEADLINE = 1800  # seconds for one stage


def make_corpus(lines, folder):
    """The lines to read: by MILLRACE_CORPUS_TOOL if that is set, else by bench/corpus.py. Returns (file, whose)."""
    out = folder / "corpus.jsonl"
    tool = os.environ.get("MILLRACE_CORPUS_TOOL")
    command = [sys.executable, tool or pathlib.Path(__file__).with_name("corpus.py"), "-n", str(lines), "--json", out]
    if tool:
        command += ["--raw", "/dev/null"]
    say(f"making {lines:,} lines")
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return out, pathlib.Path(tool).name if tool else "bench/corpus.py"


def write_settings(folder, broker, corpus, ports):
    # The corpus has times of its own, which may be long ago: kept for ten years, they are not expired on arrival.
    text = f"""
[agent]
state_dir = "{folder}/agent"
listen = "127.0.0.1:{ports['agent']}"
[agent.sources.corpus]
type = "file"
include = ["{corpus}"]
[indexer]
listen = "127.0.0.1:{ports['indexer']}"
[query]
listen = "127.0.0.1:{ports['query']}"
[query.alerts]
enabled = false
[topic]
type = "kafka"
brokers = ["{broker.address}"]
name = "{TOPIC}"
partitions = 4
replication = 1
[catalogue]
url = "sqlite://{folder}/catalogue.db"
[storage]
url = "file://{folder}/shards"
[streams.logs]
retention = "3650d"
"""
    path = folder / "bench.toml"
    path.write_text(text)
    return path


def wait(process, what, done):
    """Waits until `done()`; returns when, on the process's own clock."""
    while not done():
        process.alive()
        if time.monotonic() - process.started > DEADLINE:
            fail(f"{what}: not within {DEADLINE} s; see {process.log}")
        time.sleep(0.1)
    return time.monotonic() - process.started


def run_agent(folder, settings, port, lines):
    with Process("agent", [BINARY, "agent", "--config", settings], folder) as agent:
        agent.wait_until_ready(port)
        server = Server(port)

        def shipped():
            metrics = server.metrics()
            return metrics.get("millrace_agent_shipped_records_total", 0) >= lines
        wall = wait(agent, "the agent ships the lines", shipped)
        return {"wall": wall, "cpu": agent.cpu_seconds(), "rss": agent.memory("VmHWM")}


def published(folder):
    """Records in published shards, as the catalogue says."""
    with contextlib.closing(sqlite3.connect(f"file:{folder}/catalogue.db?mode=ro", uri=True, timeout=10)) as catalogue:
        return catalogue.execute("SELECT coalesce(sum(records), 0) FROM shards").fetchone()[0]


def run_indexer(folder, settings, port, lines):
    with Process("indexer", [BINARY, "indexer", "--config", settings], folder) as indexer:
        indexer.wait_until_ready(port)
        server = Server(port)
        searchable = wait(indexer, "the indexer takes the records in",
                          lambda: server.metrics().get("millrace_indexer_records_total", 0) >= lines)
        wall = wait(indexer, "the indexer publishes the records", lambda: published(folder) >= lines)
        metrics = server.metrics()
        return {
            "searchable": searchable, "wall": wall, "cpu": indexer.cpu_seconds(), "rss": indexer.memory("VmHWM"),
            "shards": int(metrics["millrace_indexer_shards_total"]), "cuts": int(metrics["millrace_indexer_cuts_total"]),
            "adjusted": int(metrics.get("millrace_indexer_adjusted_times_total", 0)),
        }


def count(folder, settings, port):
    with Process("query", [BINARY, "query", "--config", settings], folder) as query:
        query.wait_until_ready(port)
        # The last indexer is gone, and its heartbeat with it: what is published is all there is.
        return Server(port).search(q="*", limit=0, **{"from": 0})["total"]


def report(lines, raw, whose, agent, indexer, stored, topic, broker, load):
    def cost(run):
        return f"{raw / run['cpu'] / 1e6:.0f} MB, {lines / run['cpu']:,.0f} lines"
    table(f"Throughput through Kafka, {lines:,} JSON lines by `{whose}`", [
        ("input", f"one file, {raw / 1e6:.1f} MB, {raw / lines:.0f} bytes a line"),
        ("agent: a CPU-second reads and ships", cost(agent)),
        ("agent: CPU, wall", f"{agent['cpu']:.2f} s, {agent['wall']:.2f} s = {lines / agent['wall']:,.0f} lines/s"),
        ("agent: RSS at most", mib(agent["rss"])),
        ("indexer: a CPU-second takes, seals and publishes", cost(indexer)),
        ("indexer: CPU, wall until all are searchable",
         f"{indexer['cpu']:.2f} s, {indexer['searchable']:.2f} s = {lines / indexer['searchable']:,.0f} lines/s"),
        ("indexer: wall until all are published", f"{indexer['wall']:.2f} s (it waits for the age of the last cut)"),
        ("indexer: RSS at most", mib(indexer["rss"])),
        ("stored: shards, catalogue apart", f"{stored / 1e6:.1f} MB in {indexer['shards']} shards of {indexer['cuts']} cuts"),
        ("stored bytes a raw byte", f"{stored / raw:.4f} = 1/{raw / stored:.1f}"),
        ("topic on the broker's disk", f"{topic / 1e6:.1f} MB = 1/{raw / topic:.1f} of raw"),
        ("records found at the end", f"{lines:,} of {lines:,}; {indexer['adjusted']:,} with a time that was not believed"),
        ("CPU of the broker meanwhile", f"{broker:.1f} s"),
        ("load average", str(load)),
        ("machine", machine()),
    ])


def measure(lines, given, folder):
    corpus, whose = (given, given.name) if given else make_corpus(lines, folder)
    raw = corpus.stat().st_size
    with Load() as load, Broker(folder) as broker:
        ports = {role: free_port() for role in ("agent", "indexer", "query")}
        settings = write_settings(folder, broker, corpus, ports)
        idle = broker.process.cpu_seconds()
        say("the agent ships")
        agent = run_agent(folder, settings, ports["agent"], lines)
        topic = broker.topic_bytes(TOPIC)
        say("the indexer indexes")
        indexer = run_indexer(folder, settings, ports["indexer"], lines)
        kafka = broker.process.cpu_seconds() - idle
        stored = folder_bytes(folder / "shards", "*")
        total = count(folder, settings, ports["query"])
    if total != lines:
        fail(f"{total:,} records are found, {lines:,} lines were written: no figures from a wrong answer")
    report(lines, raw, whose, agent, indexer, stored, topic, kafka, load)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=2_000_000)
    parser.add_argument("--corpus", type=pathlib.Path, help="a file of JSON lines that is there already")
    options = parser.parse_args()
    need_binary()
    lines = options.lines
    if options.corpus:
        with open(options.corpus, "rb") as file:
            lines = sum(1 for _ in file)
    with Folder() as folder:
        measure(lines, options.corpus.resolve() if options.corpus else None, folder)


if __name__ == "__main__":
    main()
