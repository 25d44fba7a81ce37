#!/usr/bin/env python3
"""What `millrace up` costs when nothing happens: how long it starts, and what it holds and uses while it waits.

    bench/idle.py [--starts 5] [--seconds 20]     on an empty folder
    bench/idle.py --files 10000 [--seconds 20]    watching so many files, all of them read
"""

import argparse
import time

from harness import (BINARY, Folder, Load, Process, Server, fail, free_port, machine, mib, need_binary, percentile, say,
                     table)

READ_WITHIN = 120  # seconds


def command(folder, port):
    (folder / "logs").mkdir(exist_ok=True)
    watch = f"{folder}/logs/*.log"
    return [BINARY, "up", "--data", folder / "data", "--listen", f"127.0.0.1:{port}", "--watch", watch]


def watch(up, seconds):
    """What it uses and holds while nothing happens, as rows."""
    time.sleep(2)
    before = up.cpu_seconds()
    time.sleep(seconds)
    used = (up.cpu_seconds() - before) / seconds
    now, own, most = (up.memory(name) for name in ("VmRSS", "RssAnon", "VmHWM"))
    return [
        ("RSS while idle", f"{mib(now)}, of that {mib(own)} its own memory (the rest are mapped files, the program's among them)"),
        ("RSS at most", mib(most)),
        (f"CPU while idle, over {seconds:.0f} s", f"{used * 100:.2f} % of a core"),
    ]


def empty(options, folder):
    times, rows = [], []
    for nth in range(options.starts):
        port = free_port()
        with Process(f"up-{nth}", command(folder, port), folder) as up:
            times.append(up.wait_until_ready(port) * 1000)
            say(f"start {nth + 1}: ready after {times[-1]:.0f} ms")
            if nth + 1 == options.starts:
                rows = watch(up, options.seconds)
    again = times[1:] or times
    return [
        ("start until `/readyz`, empty folder", f"{times[0]:.0f} ms"),
        (f"start until `/readyz`, again (median of {len(again)})", f"{percentile(again, 50):.0f} ms"),
        *rows,
    ]


def many_files(options, folder):
    logs = folder / "logs"
    logs.mkdir()
    for nth in range(options.files):
        (logs / f"{nth}.log").write_text(f"the only line of file {nth}\n")
    port = free_port()
    with Process("up", command(folder, port), folder) as up:
        ready = up.wait_until_ready(port)
        server = Server(port)
        while server.metrics().get("millrace_agent_shipped_records_total", 0) < options.files:
            up.alive()
            if time.monotonic() - up.started > READ_WITHIN:
                fail(f"the files were not read within {READ_WITHIN} s")
            time.sleep(0.1)
        read = time.monotonic() - up.started
        # What was read is sealed half a minute later; that is not idle.
        time.sleep(40 if options.seconds > 10 else 0)
        rows = watch(up, options.seconds)
    return [
        ("start until `/readyz`, until all files are read", f"{ready * 1000:.0f} ms, {read:.1f} s"),
        *rows,
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=5, help="starts, the first on an empty folder")
    parser.add_argument("--seconds", type=float, default=20, help="how long it is watched idle")
    parser.add_argument("--files", type=int, default=0, help="files that are there and do not grow")
    options = parser.parse_args()
    need_binary()
    with Folder() as folder, Load() as load:
        rows = many_files(options, folder) if options.files else empty(options, folder)
    title = f"`millrace up`, {options.files:,} files that do not grow" if options.files else "`millrace up`, nothing ingested"
    table(title, [*rows, ("load average", str(load)), ("machine", machine())])


if __name__ == "__main__":
    main()
