#!/usr/bin/env python3
"""Makes text to measure shards with: one line a record, on stdout. The same lines for the same seed and input.

    bench/texts.py access  [-n 300000] [--seed 1]               JSON access logs as nginx writes them (escape=json)
    bench/texts.py windows [-n 50000] [--seed 1] FOLDER         Windows events: the folder's events with new ids and times
    bench/texts.py build   [-n 60000] [--seed 1] FILE...        verbose build logs, repeated with new hashes and paths
    bench/texts.py prose   [-n 400000] FOLDER...                lines of Markdown, and comments of Rust sources
    bench/texts.py hosts   [-n 200000] [--seed 1]               what a web server's host logs: auditd, sshd, sudo, cron, requests

What is redrawn is what differs from one event or build to the next; everything else stays as it was found.
"""

import argparse
import json
import pathlib
import random
import re
import sys
from datetime import datetime, timedelta, timezone

START = datetime(2026, 1, 15, tzinfo=timezone.utc)


def zipf(rnd, values, power=1.0):
    """A function that draws from `values`, the first ones most often."""
    weights = [1 / (rank + 1) ** power for rank in range(len(values))]
    total, sums = 0.0, []
    for weight in weights:
        total += weight
        sums.append(total)
    return lambda: rnd.choices(values, cum_weights=sums)[0]


# Access logs

AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{c}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_{m} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.{m} Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{c}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{c}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{c}.0) Gecko/20100101 Firefox/{c}.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.{m} Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{c}.0.0.0 Safari/537.36",
]
BOTS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "curl/8.5.0", "python-requests/2.32.3", "Go-http-client/2.0", "kube-probe/1.31", "-",
]
WORDS = ("shoe boot lamp chair table desk phone cable pixel camera bottle jacket glove tent stove radio clock mirror "
         "carpet basket helmet bridge garden summer winter leather cotton carbon steel maple silver orange").split()


class Site:
    """What is asked for: pages, what pages load, and an interface."""

    def __init__(self, rnd):
        self.rnd = rnd
        slugs = [f"{rnd.choice(WORDS)}-{rnd.choice(WORDS)}-{rnd.randint(1, 9999)}" for _ in range(4000)]
        self.product = zipf(rnd, slugs, 0.9)
        self.category = zipf(rnd, WORDS, 0.8)
        self.assets = [(f"/assets/{name}.{rnd.getrandbits(32):08x}.{kind}", rnd.randint(900, 400_000))
                       for name in ("app", "vendor", "theme", "cart", "icons", "search", "polyfills", "fonts")
                       for kind in ("js", "css", "woff2")]
        self.images = {}

    def page(self):
        """A path and about how large its answer is."""
        kind = self.rnd.random()
        if kind < 0.25:
            return "/", 18_400
        if kind < 0.55:
            return f"/product/{self.product()}", 31_000
        if kind < 0.80:
            return f"/category/{self.category()}?page={min(40, int(self.rnd.expovariate(0.6)) + 1)}", 44_000
        if kind < 0.92:
            return f"/search?q={self.category()}+{self.category()}&sort={self.rnd.choice(['price', 'rank', 'new'])}", 27_000
        return self.rnd.choice(["/cart", "/account", "/account/orders", "/checkout", "/about", "/help/returns"]), 12_000

    def image(self):
        path = f"/media/{self.product()}/{self.rnd.choice(['s', 'm', 'l'])}.webp"
        return path, self.images.setdefault(path, self.rnd.randint(3_000, 180_000))


def access(options):
    rnd = random.Random(options.seed)
    site = Site(rnd)
    addresses = [f"{rnd.choice([5, 31, 46, 62, 77, 81, 84, 91, 95, 109, 178, 188, 193, 213])}."
                 f"{rnd.randint(0, 255)}.{rnd.randint(0, 255)}.{rnd.randint(1, 254)}" for _ in range(20_000)]
    address = zipf(rnd, addresses, 0.7)
    agents = [agent.format(c=chrome, m=minor) for chrome, minor in zip(range(143, 125, -1), range(6, -12, -1))
              for agent in AGENTS if minor >= 0 or "{m}" not in agent]
    agent = zipf(rnd, agents, 1.1)
    upstreams = [f"10.12.{number}.{rnd.randint(2, 250)}:8080" for number in range(12)]
    referrer = zipf(rnd, ["-", "https://www.google.com/", "https://www.bing.com/", "https://t.co/", "https://duckduckgo.com/",
                          "https://www.facebook.com/"], 1.5)
    time, made = START, 0

    def line(at, client, user, method, uri, status, sent, origin, agent_text):
        dynamic = not uri.startswith(("/assets", "/media"))
        seconds = rnd.lognormvariate(-3.2, 0.9) if dynamic else rnd.lognormvariate(-6.5, 0.5)
        return json.dumps({
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}+00:00", "remote_addr": client, "remote_user": user,
            "request_id": f"{rnd.getrandbits(128):032x}", "host": "shop.example.com", "request_method": method,
            "request_uri": uri, "server_protocol": "HTTP/2.0" if agent_text.startswith("Mozilla") else "HTTP/1.1",
            "status": status, "body_bytes_sent": sent, "request_length": 180 + len(uri) + len(agent_text) + rnd.randint(0, 60),
            "request_time": round(seconds, 3), "http_referer": origin, "http_user_agent": agent_text,
            "upstream_addr": rnd.choice(upstreams) if dynamic else "-",
            "upstream_response_time": f"{max(seconds - 0.001, 0):.3f}" if dynamic else "-",
            "upstream_cache_status": rnd.choice(["MISS", "MISS", "HIT", "EXPIRED"]) if dynamic else "HIT",
        }, separators=(",", ":"), ensure_ascii=False)

    while made < options.n:
        visit = []
        client = address()
        if rnd.random() < 0.12:
            bot = rnd.choice(BOTS)
            for _ in range(1 + int(rnd.expovariate(0.5))):
                uri, size = ("/healthz", 2) if bot.startswith("kube") else site.page()
                status = 200 if rnd.random() < 0.93 else 404
                visit.append((rnd.random() * 20, client, "-", "GET", uri, status, size if status == 200 else 153, "-", bot))
        else:
            browser, user = agent(), rnd.choice(["-"] * 9 + [f"u{rnd.randint(1, 40_000)}"])
            origin, at = referrer(), 0.0
            for _ in range(1 + int(rnd.expovariate(0.45))):
                uri, size = site.page()
                roll = rnd.random()
                status = 200 if roll < 0.955 else rnd.choice([301, 302, 304, 404, 404, 499, 500, 502])
                sent = int(size * rnd.lognormvariate(0, 0.08)) if status == 200 else {304: 0, 499: 0}.get(status, 153)
                visit.append((at, client, user, "GET", uri, status, sent, origin, browser))
                page = f"https://shop.example.com{uri}"
                for uri, size in rnd.sample(site.assets, rnd.randint(0, 4)) + [site.image() for _ in range(rnd.randint(0, 5))]:
                    cached = rnd.random() < 0.3
                    visit.append((at + rnd.random(), client, user, "GET", uri, 304 if cached else 200, 0 if cached else size,
                                  page, browser))
                if rnd.random() < 0.2:
                    visit.append((at + 1 + rnd.random(), client, user, "POST", f"/api/v2/cart/items/{rnd.randint(1, 90_000)}",
                                  rnd.choice([200, 201, 201, 204, 409, 422]), rnd.randint(40, 900), page, browser))
                origin, at = page, at + rnd.expovariate(0.08)
        # Visits overlap in truth; here each is squeezed into the time until the next, so that lines come in order.
        length = max(at for at, *_ in visit) + 0.001
        step = timedelta(seconds=rnd.expovariate(3.0))
        for at, *rest in sorted(visit)[:options.n - made]:
            print(line(time + step * (at / length), *rest))
            made += 1
        time += step


# Windows events

GUID = re.compile(r"^\{?[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-([0-9A-Fa-f]{4})-([0-9A-Fa-f]{12})\}?$")


def events_of(folder):
    """All events of a folder's files; a file is a row of JSON objects."""
    decoder = json.JSONDecoder()
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        text, at = path.read_text(encoding="utf-8-sig"), 0
        while (at := at + len(text[at:]) - len(text[at:].lstrip())) < len(text):
            event, at = decoder.raw_decode(text, at)
            yield event


def windows(options):
    rnd = random.Random(options.seed)
    events = list(events_of(options.paths[0]))
    pick = zipf(rnd, rnd.sample(events, len(events)), 0.8)
    computers = [f"ws-{number:03}.corp.example" for number in range(60)] + [f"dc-{number}.corp.example" for number in range(4)]
    computer = zipf(rnd, computers, 0.6)
    boots = {name: (rnd.getrandbits(32), rnd.randint(1, 4_000_000)) for name in computers}
    records = {name: record for name, (_, record) in boots.items()}
    time = START

    def redrawn(value, key, at, host):
        if isinstance(value, dict):
            return {name: redrawn(inner, name, at, host) for name, inner in value.items()}
        if isinstance(value, list):
            return [redrawn(inner, key, at, host) for inner in value]
        if key == "SystemTime":
            return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06}Z"
        if key in ("UtcTime", "CreationUtcTime"):
            return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"
        if key == "Computer":
            return host
        if key == "EventRecordID":
            records[host] += rnd.randint(1, 3)
            return records[host]
        if key in ("ProcessID", "ThreadID", "ProcessId", "ParentProcessId") and isinstance(value, int):
            return rnd.randint(100, 4_000) * 4
        if key and key.endswith("Guid") and key != "Guid" and isinstance(value, str) and GUID.match(value):
            return f"{boots[host][0]:08X}-{rnd.getrandbits(16):04X}-{at.day:02}{at.hour:02}-{rnd.getrandbits(16):04X}-00{rnd.getrandbits(24):06X}4002"
        if key in ("LogonId", "TargetLogonId", "SubjectLogonId"):
            return f"0x{rnd.getrandbits(24):x}" if isinstance(value, str) else rnd.getrandbits(24)
        return value

    for _ in range(options.n):
        time += timedelta(seconds=rnd.expovariate(2.0))
        print(json.dumps(redrawn(pick(), None, time, computer()), separators=(",", ":"), ensure_ascii=False))


# Build logs

HASH = re.compile(r"\b[0-9a-f]{16}\b")
FOLDER = re.compile(r"/tmp/[\w.-]+|/root/[\w.-]+|/home/[\w.-]+")
SECONDS = re.compile(r"\b\d+\.\d\ds\b")


def build(options):
    """Every repetition is another checkout: its hashes, its folders and its times are its own, the same throughout."""
    rnd = random.Random(options.seed)
    lines = [line for path in options.paths for line in pathlib.Path(path).read_text(errors="replace").splitlines()]
    made = 0
    while made < options.n:
        hashes, folders, number = {}, {}, rnd.randint(1, 99_999)

        def of(known, found, make):
            return known.setdefault(found.group(), make())

        for line in lines[:options.n - made]:
            line = FOLDER.sub(lambda found: of(folders, found, lambda: f"/builds/{number}/{rnd.choice(WORDS)}"), line)
            line = HASH.sub(lambda found: of(hashes, found, lambda: f"{rnd.getrandbits(64):016x}"), line)
            print(SECONDS.sub(lambda _: f"{rnd.uniform(0.2, 90):.2f}s", line))
            made += 1


# Prose

COMMENT = re.compile(r"^\s*//[/!]?\s?(.*\S)")


def prose(options):
    """Files in the order of their names, until there are enough lines; blank ones do not count."""
    made = 0
    for folder in options.paths:
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.suffix not in (".md", ".rs") or not path.is_file():
                continue
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                if path.suffix == ".rs":
                    found = COMMENT.match(line)
                    line = found.group(1) if found else ""
                if not line.strip():
                    continue
                if made == options.n:
                    return
                print(line)
                made += 1


# A host's own logs

COMMANDS = ["ls -l --color=auto", "git status --short", "/usr/bin/python3 /opt/app/run.py --once", "df -h /", "ps aux",
            "systemctl status nginx", "tail -n 50 /var/log/app.log", "cat /proc/meminfo", "vim /etc/app/config.toml"]


def hosts(options):
    """Everyday lines: of every ten events three are requests, three audit events of several lines, the others syslog."""
    rnd = random.Random(options.seed)
    site = Site(rnd)
    time, made, serial = START, 0, 1000

    def audited(command):
        words = command.split()
        name = words[0].rsplit("/", 1)[-1]
        id_of = f"msg=audit({time.timestamp():.3f}:{serial})"
        spelled = " ".join(f'a{at}="{word}"' for at, word in enumerate(words))
        title = "\0".join(words).encode().hex().upper()
        return [
            f"type=SYSCALL {id_of}: arch=c000003e syscall=59 success=yes exit=0 a0={rnd.getrandbits(44):x} a1={rnd.getrandbits(44):x} "
            f"a2={rnd.getrandbits(44):x} a3=8 items=2 ppid={rnd.randint(300, 9999)} pid={rnd.randint(300, 99999)} auid=1000 uid=1000 "
            f'gid=1000 euid=1000 suid=1000 fsuid=1000 egid=1000 sgid=1000 fsgid=1000 tty=pts0 ses=3 comm="{name}" '
            f'exe="/usr/bin/{name}" subj=unconfined key="exec"',
            f"type=EXECVE {id_of}: argc={len(words)} {spelled}",
            f'type=CWD {id_of}: cwd="/home/ann"',
            f'type=PATH {id_of}: item=0 name="/usr/bin/{name}" inode={rnd.randint(1, 999999)} dev=fe:01 mode=0100755 ouid=0 ogid=0 '
            "rdev=00:00 nametype=NORMAL cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0",
            f"type=PROCTITLE {id_of}: proctitle={title}",
        ]

    while made < options.n:
        time += timedelta(seconds=rnd.expovariate(5.0))
        serial += 1
        stamp, client = f"{time:%b %d %H:%M:%S} web1", f"10.0.{rnd.randint(0, 255)}.{rnd.randint(1, 254)}"
        roll = rnd.random()
        if roll < 0.3:
            uri, size = site.page()
            event = [f'{client} - - [{time:%d/%b/%Y:%H:%M:%S} +0000] "GET {uri} HTTP/1.1" {rnd.choice([200] * 9 + [404])} {size} '
                     f'"-" "{AGENTS[0].format(c=140)}"']
        elif roll < 0.6:
            event = audited(rnd.choice(COMMANDS))
        elif roll < 0.75:
            event = [f"{stamp} sshd[{serial}]: Accepted publickey for ann from {client} port {rnd.randint(1024, 65535)} ssh2: "
                     "ED25519 SHA256:abcdefghijklmnopqrstuvwxyz"]
        elif roll < 0.85:
            event = [f"{stamp} sudo[{serial}]:      ann : TTY=pts/0 ; PWD=/home/ann ; USER=root ; COMMAND=/usr/bin/{rnd.choice(COMMANDS)}"]
        else:
            event = [f"{stamp} CRON[{serial}]: (root) CMD (/usr/local/bin/rotate --keep 7 > /dev/null 2>&1)"]
        for line in event[:options.n - made]:
            print(line)
            made += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for make, lines, paths in ((access, 300_000, None), (windows, 50_000, 1), (build, 60_000, "+"), (prose, 400_000, "+"),
                               (hosts, 200_000, None)):
        kind = kinds.add_parser(make.__name__)
        kind.add_argument("-n", type=int, default=lines)
        kind.add_argument("--seed", type=int, default=1)
        if paths:
            kind.add_argument("paths", nargs=paths)
        kind.set_defaults(make=make)
    options = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    options.make(options)


if __name__ == "__main__":
    main()
