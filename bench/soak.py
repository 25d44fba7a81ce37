#!/usr/bin/env python3
"""An agent at full rate for ten minutes: files that grow as fast as it ships them, are renamed at 128 MB and deleted later, into a real
Kafka. Says each minute what it holds, and whether that stays.

    bench/soak.py [--seconds 600] [--files 8]
"""

import argparse
import os
import time

import corpus
from harness import BINARY, Folder, Load, Process, Server, fail, free_port, machine, mib, need_binary, say, table
from kafka import Broker

ROTATE = 128 << 20  # bytes of a file until it is renamed
BEHIND = 64 << 20   # bytes that may lie there unshipped
KEPT = 2            # renamed files that stay
# What is shipped in ten minutes is more than a disk has to hold.
RETENTION = "\nlog.retention.bytes=536870912\nlog.segment.bytes=134217728\nlog.retention.check.interval.ms=5000\n"


def settings(folder, broker, port):
    config = folder / "agent.toml"
    config.write_text(
        f'[agent]\nstate_dir = "{folder}/state"\nlisten = "127.0.0.1:{port}"\n'
        f'[agent.sources.soak]\ntype = "file"\ninclude = ["{folder}/logs/*.log"]\nparse = ["none"]\nrotate_wait = "2s"\n'
        f'[topic]\ntype = "kafka"\nbrokers = ["{broker.address}"]\nname = "soak"\npartitions = 4\nreplication = 1\n')
    return config


class Files:
    """What the agent reads."""

    def __init__(self, folder, count):
        self.folder = folder / "logs"
        self.folder.mkdir()
        self.open = [self.begin(nth) for nth in range(count)]
        self.old = [[] for _ in range(count)]
        self.rotations = 0

    def begin(self, nth):
        return open(self.folder / f"{nth}.log", "ab", buffering=0)

    def write(self, nth, block):
        file = self.open[nth]
        file.write(block)
        if file.tell() >= ROTATE:
            self.rotations += 1
            renamed = self.folder / f"{nth}.log.{self.rotations}"
            os.rename(file.name, renamed)
            file.close()
            self.old[nth].append(renamed)
            if len(self.old[nth]) > KEPT:
                self.old[nth].pop(0).unlink()
            self.open[nth] = self.begin(nth)


def shipped(server):
    return server.metrics().get("millrace_agent_shipped_bytes_total", 0)


def handles(process):
    return len(os.listdir(f"/proc/{process.child.pid}/fd"))


def measure(options, folder):
    port = free_port()
    texts = [f"{line['timestamp']} {line['service']} {line['level']} {line['message']}\n" for line in corpus.lines(4000)]
    block = "".join(texts).encode()
    text = len(block) - len(texts)  # what is counted: without line ends
    with Broker(folder, RETENTION) as broker, Process("agent", [BINARY, "agent", "--config", settings(folder, broker, port)], folder) as agent:
        agent.wait_until_ready(port)
        server, files = Server(port), Files(folder, options.files)
        began, written, nth, rows = time.monotonic(), 0, 0, []
        cpu, minute, last = agent.cpu_seconds(), began + 60, 0
        while time.monotonic() - began < options.seconds:
            agent.alive()
            if written - shipped(server) > BEHIND:
                time.sleep(0.02)
            else:
                for _ in range(16):
                    files.write(nth % options.files, block)
                    nth, written = nth + 1, written + text
            if time.monotonic() >= minute:
                now, used = shipped(server), agent.cpu_seconds()
                rows.append((f"minute {len(rows) + 1}", f"{(now - last) / 60e6:.0f} MB/s, {(now - last) / 1e6 / (used - cpu):.0f} MB a CPU-second, "
                             f"{mib(agent.memory('VmRSS'))}, {handles(agent)} handles, {files.rotations} rotations so far"))
                say(": ".join(rows[-1]))
                last, cpu, minute = now, used, minute + 60
        deadline = time.monotonic() + 60
        while shipped(server) < written:
            if time.monotonic() > deadline:
                fail(f"{written} bytes were written, {shipped(server)} shipped")
            time.sleep(0.1)
        rows.append(("shipped in the end", f"{written / 1e9:.1f} GB, all that was written; {mib(agent.memory('VmHWM'))} at most"))
        return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--files", type=int, default=8)
    options = parser.parse_args()
    need_binary()
    with Folder() as folder, Load() as load:
        rows = measure(options, folder)
    table(f"An agent at full rate for {options.seconds:.0f} s, {machine()} (load {load})", rows)


if __name__ == "__main__":
    main()
