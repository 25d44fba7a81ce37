#!/usr/bin/env python3
"""What the native API, Loki's and Elasticsearch's cost over the records of a corpus: CPU and time a question.

    bench/apis.py --corpus FILE [--runs 5]     FILE: JSON lines with timestamp, host, service, level and message
"""

import argparse
import calendar
import json
import time
import urllib.parse
import urllib.request

from harness import fail, machine, mib, need_binary, percentile, table, up_with

SINCE = "36000d"
ALL = {"start": "1000000000", "end": "4000000000"}


def get(path, **parameters):
    return path + "?" + urllib.parse.urlencode(parameters), None


def post(path, body):
    return path, json.dumps(body).encode()


def questions():
    loki, elastic = "/loki/api/v1/", "/elastic/logs/"
    counted = "sum by (level) (count_over_time({stream=\"logs\"} |= \"error\" [1h]))"
    by_line = "sum by (level) (count_over_time({stream=\"logs\"} |= \"error\" | label_format x=\"{{.level}}\" [1h]))"
    minutes = {"date_histogram": {"field": "@timestamp", "fixed_interval": "1h"}, "aggs": {"levels": {"terms": {"field": "level"}}}}
    slow = {"terms": {"field": "host", "size": 5}, "aggs": {"different": {"cardinality": {"field": "service"}}}}
    return [
        ("fields", get("/api/v1/fields", **{"from": SINCE})),
        ("patterns of `error`", get("/api/v1/patterns", q="error", **{"from": SINCE})),
        ("Loki: labels", get(loki + "labels", **ALL)),
        ("Loki: values of `host`", get(loki + "label/host/values", **ALL)),
        ("Loki: the latest 100 lines with `error`", get(loki + "query_range", query='{stream="logs"} |= "error"', **ALL)),
        ("Loki: the latest 100 lines after `json` and a label filter", get(loki + "query_range", query='{stream="logs"} | json | level="error"', **ALL)),
        ("Loki: lines with `error` by level and hour, counted where they lie", get(loki + "query_range", query=counted, step="1h", **window())),
        ("the same, line by line", get(loki + "query_range", query=by_line, step="1h", **window())),
        ("Elasticsearch: match, ten hits", post(elastic + "_search", {"query": {"match": {"message": "error"}}})),
        ("Elasticsearch: ten hits sorted by a field", post(elastic + "_search", {"query": {"match": {"message": "error"}}, "sort": [{"host": "asc"}]})),
        ("Elasticsearch: hours, in each of them levels", post(elastic + "_search", {"size": 0, "aggs": {"hours": minutes}})),
        ("Elasticsearch: those, and hosts with their different services", post(elastic + "_search", {"size": 0, "aggs": {"hours": minutes, "hosts": slow}})),
    ]


BOUNDS = {}


def window():
    """The time of the corpus, in seconds."""
    return {"start": str(BOUNDS["from"]), "end": str(BOUNDS["to"])}


def ask(port, question):
    path, body = question
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers={"content-type": "application/json"} if body else {})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def cost(up, port, name, question, runs):
    """One row: the mean CPU and the median time of so many runs, after one that warms up."""
    ask(port, question)
    before, times, length = up.cpu_seconds(), [], 0
    for _ in range(runs):
        start = time.monotonic()
        length = len(ask(port, question))
        times.append((time.monotonic() - start) * 1000)
    used = (up.cpu_seconds() - before) / runs * 1000
    return (name.replace("|", "\\|"), f"{used:.0f} ms CPU, {percentile(times, 50):.0f} ms; {length} bytes")


def export(up, port, records):
    """Everything, as NDJSON."""
    before, start, lines = up.cpu_seconds(), time.monotonic(), 0
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/export?q=*&from={SINCE}") as answer:
        while chunk := answer.read(1 << 20):
            lines += chunk.count(b"\n")
    if lines != records:
        fail(f"{lines} of {records} records were exported")
    return ("export of everything", f"{up.cpu_seconds() - before:.1f} s CPU, {time.monotonic() - start:.1f} s; memory at most {mib(up.memory('VmHWM'))}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    need_binary()
    with up_with(options.corpus) as (up, port, records):
        times = get("/api/v1/search", q="* | stats min(timestamp), max(timestamp)", **{"from": SINCE})
        first, last = (calendar.timegm(time.strptime(at[:19], "%Y-%m-%dT%H:%M:%S")) for at in json.loads(ask(port, times))["table"]["rows"][0])
        BOUNDS.update({"from": first, "to": last + 1})
        rows = [cost(up, port, name, question, options.runs) for name, question in questions()]
        rows.append(export(up, port, records))
    rows.append(("machine", machine()))
    table("APIs over records in shards", rows)


if __name__ == "__main__":
    main()
