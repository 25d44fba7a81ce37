#!/usr/bin/env python3
"""What `millrace up` costs when nothing happens: how long it starts, and what it holds and uses while it waits.

    bench/idle.py [--starts 5] [--seconds 20]
"""

import argparse
import time

from harness import BINARY, Folder, Load, Process, free_port, machine, mib, need_binary, say, table


def command(folder, port):
    (folder / "logs").mkdir(exist_ok=True)
    watch = f"{folder}/logs/*.log"
    return [BINARY, "up", "--data", folder / "data", "--listen", f"127.0.0.1:{port}", "--watch", watch]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=5, help="starts, the first on an empty folder")
    parser.add_argument("--seconds", type=float, default=20, help="how long it is watched idle")
    options = parser.parse_args()
    need_binary()
    with Folder() as folder, Load() as load:
        times = []
        for nth in range(options.starts):
            port = free_port()
            with Process(f"up-{nth}", command(folder, port), folder) as up:
                times.append(up.wait_until_ready(port))
                say(f"start {nth + 1}: ready after {times[-1] * 1000:.0f} ms")
                if nth + 1 == options.starts:
                    time.sleep(2)
                    before = up.cpu_seconds()
                    time.sleep(options.seconds)
                    used = (up.cpu_seconds() - before) / options.seconds
                    now, own, most = (up.memory(name) for name in ("VmRSS", "RssAnon", "VmHWM"))
    again = sorted(times[1:]) or times
    table("`millrace up`, nothing ingested", [
        ("start until `/readyz`, empty folder", f"{times[0] * 1000:.0f} ms"),
        (f"start until `/readyz`, again (median of {len(again)})", f"{again[len(again) // 2] * 1000:.0f} ms"),
        ("RSS while idle", f"{mib(now)}, of that {mib(own)} its own memory (the rest are mapped files, the program's among them)"),
        ("RSS at most", mib(most)),
        (f"CPU while idle, over {options.seconds:.0f} s", f"{used * 100:.2f} % of a core"),
        ("load average", str(load)),
        ("machine", machine()),
    ])


if __name__ == "__main__":
    main()
