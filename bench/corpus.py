#!/usr/bin/env python3
"""Makes log lines: the same lines for the same seed, of twelve services, with the variables that real lines have.

    bench/corpus.py -n 2000000 --json corpus.jsonl [--seed 1]

Where MILLRACE_CORPUS_TOOL names another generator that takes `-n N --json FILE --raw FILE`, the throughput measurement
uses that one. This one needs no samples; its lines are plainer than real ones, so what is stored of them is smaller.
"""

import argparse
import json
import random
from datetime import datetime, timedelta, timezone

HOSTS = [f"{kind}-{number:03}" for kind in ("web", "db", "app", "edge") for number in range(1, 13)]
USERS = [f"{first}.{last}" for first in ("ann", "bob", "eva", "jon", "lea", "max", "tim", "zoe")
         for last in ("berg", "cole", "diaz", "fox", "gray", "hall", "king", "lund")]
PATHS = [f"/api/v{version}/{noun}" for version in (1, 2)
         for noun in ("orders", "users", "carts", "items", "search", "login", "health", "reports")]


def templates(rnd):
    """(weight, service, level, line) where line makes one message."""
    def number(low, high):
        return str(rnd.randint(low, high))

    def address():
        return f"10.{rnd.randint(0, 7)}.{rnd.randint(0, 255)}.{rnd.randint(1, 254)}"

    def block():
        return f"blk_{rnd.randint(-1 << 62, 1 << 62)}"

    def token():
        return f"{rnd.getrandbits(64):016x}"

    user, path = (lambda: rnd.choice(USERS)), (lambda: rnd.choice(PATHS))
    return [
        (20, "nginx", "info",
         lambda: f'{address()} - {user()} "GET {path()}/{number(1, 90000)} HTTP/1.1" 200 {number(90, 60000)} {number(1, 900)}ms'),
        (4, "nginx", "warn",
         lambda: f'{address()} - - "POST {path()} HTTP/1.1" 429 {number(90, 300)} rate limited after {number(50, 500)} requests'),
        (2, "nginx", "error",
         lambda: f'{address()} - - "GET {path()} HTTP/1.1" 502 upstream {address()}:{number(8000, 8099)} closed the connection'),
        (14, "hdfs", "info", lambda: f"PacketResponder {number(0, 2)} for block {block()} terminating"),
        (10, "hdfs", "info", lambda: f"Received block {block()} of size {number(1, 67108864)} from /{address()}"),
        (9, "spark", "info",
         lambda: f"Finished task {number(0, 200)}.0 in stage {number(0, 40)}.0 (TID {number(0, 90000)}) in {number(3, 4000)} ms on {rnd.choice(HOSTS)}"),
        (8, "sshd", "info",
         lambda: f"Accepted publickey for {user()} from {address()} port {number(1024, 65535)} ssh2"),
        (5, "sshd", "warn",
         lambda: f"Failed password for invalid user {user()} from {address()} port {number(1024, 65535)} ssh2"),
        (9, "postgres", "info",
         lambda: f"duration: {number(0, 900)}.{number(100, 999)} ms  statement: SELECT * FROM {path()[8:]} WHERE id = {number(1, 900000)}"),
        (7, "kernel", "info",
         lambda: f"[{number(1000, 9999999)}.{number(100000, 999999)}] eth0: link up, {rnd.choice(['1000', '10000'])} Mbps, full duplex"),
        (7, "app", "debug",
         lambda: f"cache lookup key=session:{token()} hit={rnd.choice(['true', 'false'])} took={number(1, 90)}us"),
        (5, "app", "error",
         lambda: f"connection reset by peer: request={token()} user={user()} retries={number(0, 5)} after {number(1, 30)}s"),
    ]


def lines(count, seed=1, start=None, milliseconds=43.2):
    """`count` records as dictionaries, in the order of their times."""
    rnd = random.Random(seed)
    choices = templates(rnd)
    weights = [weight for weight, *_ in choices]
    time = start or datetime(2026, 1, 15, tzinfo=timezone.utc)
    step = timedelta(milliseconds=milliseconds)
    left = 0
    while left < count:
        for _, service, level, line in rnd.choices(choices, weights, k=min(1000, count - left)):
            stamp = f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"
            yield {"timestamp": stamp, "host": rnd.choice(HOSTS), "service": service, "level": level, "message": line()}
            time += step
        left += min(1000, count - left)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, required=True)
    parser.add_argument("--json", required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with open(options.json, "w", encoding="utf-8") as out:
        for record in lines(options.n, options.seed):
            out.write(json.dumps(record, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
