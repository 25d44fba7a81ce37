"""A steady load of log lines, written by a process of its own: so many lines a second over so many files.

    load.py FOLDER --rate N --seconds S --files F [--every S]

Lines come out of blocks that are made beforehand, so that writing costs next to nothing; every `--every` seconds a line
holds a word that no other line has. Says `word nanoseconds` on stdout for each of those, and at last how many lines it wrote
and by how many milliseconds the latest block was late.
"""

import argparse
import pathlib
import subprocess
import sys
import time

import corpus

TICK = 0.02       # seconds between two writes
POOL = 50_000     # different lines


class Writer:
    """The process, from outside; ends with its `with` block."""

    def __init__(self, folder, rate, seconds, files=1, every=0.0):
        self.arguments = [sys.executable, __file__, folder, "--rate", rate, "--seconds", seconds, "--files", files,
                          "--every", every]

    def __enter__(self):
        arguments = [str(argument) for argument in self.arguments]
        self.child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()

    def follow(self, marker=lambda word, nanoseconds: None):
        """Blocks until the writer ends; returns (lines, latest block in ms)."""
        for line in self.child.stdout:
            first, *rest = line.split()
            if first == "wrote":
                return int(rest[0]), float(rest[1])
            marker(first, int(rest[0]))
        raise RuntimeError("the writer ended early")


def blocks():
    """The pool as bytes, and where each line of it begins."""
    lines = [f"{record['host']} {record['service']}[{nth % 32768}]: {record['level']} {record['message']}\n".encode()
             for nth, record in enumerate(corpus.lines(POOL))]
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    return b"".join(lines), starts


def write(options):
    pool, starts = blocks()
    logs = [open(options.folder / f"load-{nth}.log", "ab", buffering=0) for nth in range(min(options.files, 500))]
    paths = [options.folder / f"load-{nth}.log" for nth in range(options.files)]
    written, late, turn = 0, 0.0, 0
    begun = time.monotonic()
    next_marker = begun + options.every if options.every else float("inf")
    while (now := time.monotonic()) - begun < options.seconds:
        due = int((now - begun) * options.rate) - written
        # Each tick goes to other files; each file gets a fair share of the lines in the end.
        shares = min(options.files, max(1, due)) if options.files > 1 else 1
        for nth in range(shares):
            count = due // shares + (nth < due % shares)
            at = written % POOL
            data = pool[starts[at]:starts[min(POOL, at + count)]]
            count = min(count, POOL - at)
            if options.files <= len(logs):
                logs[turn % len(logs)].write(data)
            else:
                with open(paths[turn % options.files], "ab", buffering=0) as log:
                    log.write(data)
            written += count
            turn += 1
        if now >= next_marker:
            word = f"marker{int(now * 1e6)}"
            start = time.monotonic_ns()
            logs[0].write(f"bench bench: info a line that is looked for: {word}\n".encode())
            print(word, start, flush=True)
            written += 1
            next_marker += options.every
        late = max(late, time.monotonic() - now - TICK)
        time.sleep(max(0.0, now + TICK - time.monotonic()))
    print("wrote", written, f"{max(0.0, late) * 1000:.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--every", type=float, default=0.0)
    write(parser.parse_args())


if __name__ == "__main__":
    main()
