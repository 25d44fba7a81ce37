#!/usr/bin/env python3
"""A hundred clients at once: searches, counts, heavy pipes, Loki's and Elasticsearch's questions, exports and live tails,
over the records of a corpus, while lines are taken in. What each kind waited, what failed, and how memory went.

    bench/clients.py --corpus FILE [--seconds 60] [--rate 1000] [--records N]
    FILE: JSON lines with timestamp, host, service, level and message; of which the first N

Every client asks again as soon as it was answered. Nothing may fail, no answer may lack anything, and every line that was
written must be a hit in the end.
"""

import argparse
import asyncio
import calendar
import collections
import itertools
import json
import os
import random
import threading
import time
import urllib.parse

import load
from harness import Folder, Server, fail, machine, mib, need_binary, percentile, say, table, up_with

WORDS = ["error", "failed", "timeout", "connection", "denied", "started"]
#: How many clients of each kind.
CLIENTS = {"search": 40, "counts": 15, "patterns": 5, "Loki": 10, "Elasticsearch": 10, "export": 5, "tail": 15}


class Asker:
    """What clients ask, over the time of the corpus (seconds since 1970) and of what is being written."""

    def __init__(self, port, first, last):
        self.port, self.first, self.last = port, first, last
        self.dice = random.Random(7)

    def range(self, part):
        """A stretch that is that part of all, somewhere in it."""
        length = (self.last - self.first) * part
        start = self.first + self.dice.random() * (self.last - self.first - length)
        return {"from": int(start * 1000), "to": int((start + length) * 1000)}

    def question(self, kind):
        word = self.dice.choice(WORDS)
        native, loki = "/api/v1/search?", "/loki/api/v1/query_range?"
        match kind:
            case "search":
                part = self.dice.choice([0.01, 0.1, 1.0])
                return native + urllib.parse.urlencode({"q": word, "limit": 20, "histogram": "1h", **self.range(part)}), None
            case "counts":
                pipes = self.dice.choice(["timechart count() by level", "top 10 host", "stats count(), count_distinct(service) by host"])
                return native + urllib.parse.urlencode({"q": f"{word} | {pipes}", **self.range(1.0)}), None
            case "patterns":
                return native + urllib.parse.urlencode({"q": "* | patterns", **self.range(0.5)}), None
            case "Loki":
                query = self.dice.choice([f'{{stream="logs"}} |= "{word}"', f'sum by (level) (count_over_time({{stream="logs"}} |= "{word}" [1h]))'])
                span = self.range(0.2)
                return loki + urllib.parse.urlencode({"query": query, "step": "1h", "start": span["from"] / 1000, "end": span["to"] / 1000}), None
            case "Elasticsearch":
                hours = {"date_histogram": {"field": "@timestamp", "fixed_interval": "1h"}, "aggs": {"levels": {"terms": {"field": "level"}}}}
                return "/elastic/logs/_search", {"size": 10, "query": {"match": {"message": word}}, "aggs": {"hours": hours}}
            case "export":
                return "/api/v1/export?" + urllib.parse.urlencode({"q": "*", **self.range(0.1)}), None
            case "tail":
                return "/api/v1/tail?q=" + word, None
        raise KeyError(kind)


class Results:
    def __init__(self):
        self.times = collections.defaultdict(list)
        self.failures = collections.Counter()
        self.shown = collections.Counter()


async def begin(port, path, body):
    """Asks by HTTP/1.0, whose answers have no chunks; (status, reader, writer)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    body = json.dumps(body).encode() if body is not None else b""
    head = f"{'POST' if body else 'GET'} {path} HTTP/1.0\r\nhost: localhost\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    writer.write(head.encode() + b"\r\n" + body)
    status = int((await reader.readline()).split()[1])
    while (await reader.readline()).strip():
        pass
    return status, reader, writer


def trouble(kind, status, body):
    """What is wrong with an answer, if anything."""
    if status != 200:
        return f"{status}: {body[:200]!r}"
    if kind == "export":
        return None
    answer = json.loads(body)
    if answer.get("partial") or answer.get("timed_out") or answer.get("_shards", {}).get("failed"):
        return f"not whole: {answer.get('missing') or answer.get('_shards')}"
    return None


async def client(asker, kind, until, results):
    while time.monotonic() < until:
        path, body = asker.question(kind)
        start = time.monotonic()
        try:
            status, reader, writer = await begin(asker.port, path, body)
            answer = b"" if kind == "export" and status == 200 else await reader.read()
            while kind == "export" and (some := await reader.read(1 << 20)):
                results.shown[kind] += some.count(b"\n")
            writer.close()
            problem = trouble(kind, status, answer)
        except (OSError, ValueError, IndexError) as error:
            problem = repr(error)
        results.times[kind].append(time.monotonic() - start)
        if problem:
            results.failures[f"{kind}: {problem}"] += 1


async def tail(asker, until, results):
    """Stays; counts what it was shown, and what it was told that it was not."""
    path, _ = asker.question("tail")
    try:
        status, reader, writer = await begin(asker.port, path, None)
        if status != 200:
            results.failures[f"tail: {status}"] += 1
            return
        while (left := until - time.monotonic()) > 0:
            try:
                line = await asyncio.wait_for(reader.readline(), left)
            except TimeoutError:
                break
            if not line:
                results.failures["tail: ended early"] += 1
                break
            if line.startswith(b"data:"):
                results.shown["tail"] += 1
            if line.startswith(b"event: dropped"):
                results.shown["tails told of drops"] += 1
        writer.close()
    except OSError as error:
        results.failures[f"tail: {error!r}"] += 1


async def watch(up, until, seen):
    while time.monotonic() < until:
        seen.append(up.memory("RssAnon"))
        await asyncio.sleep(1)


async def crowd(asker, up, seconds, results, seen):
    until = time.monotonic() + seconds
    tasks = [watch(up, until, seen)]
    for kind, count in CLIENTS.items():
        one = (lambda: tail(asker, until, results)) if kind == "tail" else (lambda kind=kind: client(asker, kind, until, results))
        tasks += [one() for _ in range(count)]
    await asyncio.gather(*tasks)


def beginning(corpus, records, folder):
    """The first records of a corpus, as a file."""
    path = folder / "corpus.jsonl"
    with open(corpus, "rb") as lines, open(path, "wb") as some:
        some.writelines(itertools.islice(lines, records))
    return path


def wait_for(count, expected, within=60):
    deadline = time.monotonic() + within
    while (found := count()) != expected:
        if time.monotonic() > deadline:
            fail(f"{found} of {expected} lines that were written are hits")
        time.sleep(0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=1000)
    options = parser.parse_args()
    need_binary()
    with Folder() as folder:
        corpus, live = beginning(options.corpus, options.records, folder), folder / "live"
        os.mkdir(live)
        more = f'[agent.sources.live]\ntype = "file"\ninclude = ["{live}/*.log"]\nstream = "live"\n'
        with up_with(corpus, more=more) as (up, port, records):
            rows = measure(up, port, records, live, options)
    rows.append(("machine", machine()))
    table(f"{sum(CLIENTS.values())} clients at once", rows)


def measure(up, port, records, live, options):
    server, results, seen = Server(port), Results(), []
    first, last = server.search(q="* | stats min(timestamp), max(timestamp)", **{"from": "36000d"})["table"]["rows"][0]
    first, last = (calendar.timegm(time.strptime(at[:19], "%Y-%m-%dT%H:%M:%S")) for at in (first, last))
    asker = Asker(port, first, last + 1)
    cpu, start = up.cpu_seconds(), time.monotonic()
    with load.Writer(live, options.rate, options.seconds, files=4) as writer:
        written = []
        follower = threading.Thread(target=lambda: written.append(writer.follow()))
        follower.start()
        asyncio.run(crowd(asker, up, options.seconds, results, seen))
        took, cpu = time.monotonic() - start, up.cpu_seconds() - cpu
        follower.join()
    # The server has closed what was idle for so long.
    lines, server = written[0][0], Server(port)
    wait_for(lambda: server.search(q="*", stream="live", limit=0, **{"from": "1d"})["total"], lines)
    for problem, count in results.failures.most_common(20):
        say(f"{count} x {problem}")
    rows = [("records in shards, lines written meanwhile", f"{records}, {lines} (all of them hits at the end)")]
    for kind, count in CLIENTS.items():
        if kind == "tail":
            rows.append((f"{count} tails", f"{results.shown[kind]} records shown; {results.shown['tails told of drops']} times told of some that were not"))
            continue
        times = sorted(results.times[kind])
        figures = ", ".join(f"p{part} {percentile(times, part):.2f} s" for part in (50, 99))
        more = f"; {results.shown[kind]} lines" if kind == "export" else ""
        rows.append((f"{count} × {kind}", f"{len(times)} answers, {figures}, longest {times[-1]:.2f} s{more}"))
    rows.append(("failures and answers that lack something", str(sum(results.failures.values()))))
    rows.append(("CPU of the server, until the last was answered", f"{cpu:.0f} s in {took:.0f} s"))
    thirds = [max(seen[at * len(seen) // 3:(at + 1) * len(seen) // 3]) for at in range(3)]
    rows.append(("memory (anonymous), most in each third", ", ".join(mib(most) for most in thirds)))
    return rows


if __name__ == "__main__":
    main()
