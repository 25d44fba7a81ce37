#!/usr/bin/env python3
"""What pipes cost over 2,000,000 records, in shards or (`--hot`) in memory: CPU and time a query, and what of it goes on when whoever asked has gone. With `--kept`
the same where it was asked before.

    bench/pipes.py --corpus FILE [--runs 5] [--hot | --kept]     FILE: JSON lines with timestamp, host, service, level and message
"""

import argparse
import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request

from harness import machine, mib, need_binary, percentile, table, up_with

QUERIES = [
    "* | stats count()",
    "* | top 10 service",
    "* | stats count() by host",
    "* | timechart 10m count()",
    "* | timechart 10m count() by level",
    "* | stats count(), count_distinct(host) by level",
    "level:error | top 10 host, service",
    "error | limit 20",
    "* | sort -level | limit 20",
    "* | dedup host",
    '* | extract "port <p>" | top 10 p',
    "* | patterns",
    "* | stats count() by body",
]
# Given up in the middle.
LONG = ["* | patterns", '* | where contains(body, "zzz") | stats count()']
SINCE = "36000d"


def path(query):
    return "/api/v1/search?" + urllib.parse.urlencode({"q": query, "from": SINCE})


def ask(port, query):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path(query)}") as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        return json.load(refusal)


def cost(up, port, query, runs):
    """One row: the mean CPU and the median time of so many runs, after one that warms up."""
    answer = ask(port, query)
    before, times = up.cpu_seconds(), []
    for _ in range(runs):
        start = time.monotonic()
        answer = ask(port, query)
        times.append((time.monotonic() - start) * 1000)
    used = (up.cpu_seconds() - before) / runs * 1000
    error = answer.get("error", {}).get("code")
    rows = f"refused: {error}" if error else f"{answer['table']['total_rows']} rows"
    return (f"`{query}`".replace("|", "\\|"), f"{used:.0f} ms CPU, {percentile(times, 50):.0f} ms; {rows}")


def given_up(up, port, query):
    """What is used after the client has closed its connection."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"GET {path(query)} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())
        time.sleep(0.3)
    marks = [up.cpu_seconds()]
    for pause in (0.1, 2):
        time.sleep(pause)
        marks.append(up.cpu_seconds())
    soon, later = ((after - before) * 1000 for before, after in zip(marks, marks[1:]))
    return (f"`{query}`, given up after 300 ms".replace("|", "\\|"), f"{soon:.0f} ms CPU in the next 100 ms, then {later:.0f} ms in 2 s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--hot", action="store_true", help="all records stay in memory, and nothing is sealed")
    parser.add_argument("--kept", action="store_true", help="what shards have answered is kept, so that all but the first ask it again")
    options = parser.parse_args()
    need_binary()
    more = '[indexer]\nseal_age = "1d"\nseal_bytes = "16GiB"\nmemory = "16GiB"\n' if options.hot else ""
    with up_with(options.corpus, more=more, kept="64MiB" if options.kept else "0") as (up, port, _):
        rows = [cost(up, port, query, options.runs) for query in QUERIES]
        rows.append(("memory at most, taking the corpus in included", mib(up.memory("VmHWM"))))
        rows += [given_up(up, port, query) for query in LONG]
    rows.append(("machine", machine()))
    table(f"Pipes over records in {'memory' if options.hot else 'shards'}", rows)


if __name__ == "__main__":
    main()
