#!/usr/bin/env python3
"""Freshness: how long after a line was written it is a hit, while 10,000 lines a second are written.

    bench/freshness.py [--seconds 300] [--rate 10000] [--every 0.15]

One file is watched by `millrace up`. A process of its own appends lines at a steady rate; every 150 ms the last one
holds a word that no other line has. That word is searched for, over the default range of an hour, until it is found:
the figure is from just before the write to the answer that holds the line, so it includes the search itself.
"""

import argparse
import pathlib
import queue
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone

import corpus
from harness import (BINARY, Folder, Load, Process, Server, fail, folder_bytes, free_port, machine, mib, need_binary,
                     percentile, say, table)

BATCH = 0.01      # seconds between two writes
PAUSE = 0.004     # seconds between two searches for one word
POLLERS = 4       # words that are looked for at a time
GIVE_UP = 30      # seconds until a word counts as lost
FIRST = "thefirstline"


def write(path, rate, seconds, every):
    """The writer's process: says `word nanoseconds` on stdout for each marker, and at last how many lines it wrote."""
    tails = [f"{record['host']} {record['service']}[{nth % 32768}]: {record['level']} {record['message']}\n"
             for nth, record in enumerate(corpus.lines(50_000))]
    written, late = 0, 0.0
    begun = time.monotonic()
    next_marker = begun + every
    with open(path, "ab", buffering=0) as log:
        while (now := time.monotonic()) - begun < seconds:
            due = int((now - begun) * rate)
            stamp = f"{datetime.now(timezone.utc).isoformat(timespec='milliseconds')} "
            lines = [stamp + tails[nth % len(tails)] for nth in range(written, due)]
            marked = now >= next_marker
            if marked:
                word = f"marker{int(now * 1e6)}"
                lines.append(f"{stamp}bench bench: info a line that is looked for: {word}\n")
                next_marker += every
            data = "".join(lines).encode()
            start = time.monotonic_ns()
            log.write(data)
            if marked:
                print(word, start, flush=True)
            written += len(lines)
            late = max(late, time.monotonic() - now)
            time.sleep(max(0.0, now + BATCH - time.monotonic()))
    print("wrote", written, f"{late * 1000:.0f}", flush=True)


class Poller(threading.Thread):
    """Looks for words, one after the other."""

    def __init__(self, port, words):
        super().__init__(daemon=True)
        self.server, self.words = Server(port), words
        self.fresh, self.searches, self.partial, self.lost = [], [], 0, []

    def run(self):
        while (item := self.words.get()) is not None:
            word, written = item
            while True:
                asked = time.monotonic_ns()
                answer = self.server.search(q=word, limit=1)
                now = time.monotonic_ns()
                self.searches.append((now - asked) / 1e6)
                self.partial += answer["partial"]
                if answer["hits"]:
                    self.fresh.append((now - written) / 1e6)
                    break
                if now - written > GIVE_UP * 1e9:
                    self.lost.append(word)
                    break
                time.sleep(PAUSE)


class Pollers:
    """Looks for the words that it is given, while its `with` block lasts and until each was found or counts as lost."""

    def __init__(self, port):
        self.words = queue.Queue()
        self.threads = [Poller(port, self.words) for _ in range(POLLERS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for _ in self.threads:
            self.words.put(None)
        for thread in self.threads:
            thread.join(GIVE_UP * 2)

    def found(self):
        """What came of it, in milliseconds."""
        return {
            "fresh": [ms for thread in self.threads for ms in thread.fresh],
            "searches": [ms for thread in self.threads for ms in thread.searches],
            "partial": sum(thread.partial for thread in self.threads),
            "lost": sum(len(thread.lost) for thread in self.threads),
        }


def times(found):
    """The rows that tell of it."""
    fresh, searches = found["fresh"], found["searches"]
    if not fresh:
        fail("no line was found")
    return [
        ("p50", f"{percentile(fresh, 50):.0f} ms"),
        ("p99", f"{percentile(fresh, 99):.0f} ms"),
        ("max", f"{max(fresh):.0f} ms"),
        ("markers found / not found", f"{len(fresh)} / {found['lost']}"),
        ("searches, of them partial", f"{len(searches)}, {found['partial']}"),
        ("one search, p50 / p99", f"{percentile(searches, 50):.1f} ms / {percentile(searches, 99):.1f} ms"),
    ]


def follow(writer, words):
    """Hands markers to the pollers as they are written; returns (lines written, latest batch in ms)."""
    for line in writer.stdout:
        first, *rest = line.split()
        if first == "wrote":
            return int(rest[0]), int(rest[1])
        words.put((first, int(rest[0])))
    fail("the writer ended early")


def wait_for_total(server, query, expected, within):
    """Waits until a whole answer counts `expected`; returns the last count."""
    deadline = time.monotonic() + within
    while True:
        answer = server.search(q=query, limit=0)
        if (answer["total"] == expected and not answer["partial"]) or time.monotonic() > deadline:
            return answer["total"]
        time.sleep(0.2)


def measure(options, folder):
    log = folder / "logs" / "app.log"
    log.parent.mkdir()
    log.write_text(FIRST + "\n")
    port = free_port()
    command = [BINARY, "up", "--data", folder / "data", "--listen", f"127.0.0.1:{port}", "--watch", log]
    with Process("up", command, folder) as up:
        up.wait_until_ready(port)
        server = Server(port)
        if wait_for_total(server, FIRST, 1, 30) != 1:
            fail("the watched file was not read")
        arguments = [sys.executable, __file__, "--write-to", log, "--rate", str(options.rate),
                     "--seconds", str(options.seconds), "--every", str(options.every)]
        with Pollers(port) as pollers:
            cpu, begun = up.cpu_seconds(), time.monotonic()
            writer = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
            try:
                written, late = follow(writer, pollers.words)
            finally:
                if writer.poll() is None:
                    writer.kill()
                writer.wait()
            took = time.monotonic() - begun
            cpu = up.cpu_seconds() - cpu
        found = wait_for_total(server, "*", written + 1, 30)
        up.alive()
        return {
            **pollers.found(),
            "written": written, "found": found - 1, "late": late, "took": took, "cpu": cpu,
            "rss": up.memory("VmHWM"), "raw": log.stat().st_size,
            "topic": folder_bytes(folder / "data" / "topic", "*"), "stored": folder_bytes(folder / "data" / "shards", "*"),
        }


def report(options, load, found):
    table(f"Freshness, write to hit, {options.rate:,} lines/s for {options.seconds:.0f} s", [
        *times(found),
        ("lines written / found at the end", f"{found['written']:,} / {found['found']:,}"),
        ("lines/s as written, latest write", f"{found['written'] / found['took']:,.0f}, {found['late']} ms"),
        ("CPU of `millrace up`, these searches included", f"{found['cpu']:.1f} s = {found['cpu'] / found['took']:.2f} cores"),
        ("RSS at most", mib(found["rss"])),
        ("raw bytes, topic's bytes, shards' bytes (before the last cut)",
         f"{mib(found['raw'])}, {mib(found['topic'])}, {mib(found['stored'])}"),
        ("load average", str(load)),
        ("machine", machine()),
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--rate", type=int, default=10_000, help="lines a second")
    parser.add_argument("--every", type=float, default=0.15, help="seconds between two markers")
    parser.add_argument("--write-to", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write_to:
        write(options.write_to, options.rate, options.seconds, options.every)
        return
    need_binary()
    with Folder() as folder, Load() as load:
        say(f"writing {options.rate:,} lines/s for {options.seconds:.0f} s")
        found = measure(options, folder)
    report(options, load, found)


if __name__ == "__main__":
    main()
