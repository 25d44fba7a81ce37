#!/usr/bin/env python3
"""Runs Quickwit's public REST scenario folders against an Elasticsearch-compatible server.

    quickwit.py FOLDER [--base URL] [--only PREFIX]... [--known FILE] [--dry] [--token-file FILE] [--json FILE]

FOLDER is the `scenarii` folder of a fetched copy. Steps for the engine `elasticsearch` are run as they are. Folders
whose set-up is for Quickwit alone (aggregations, search_after, sort_orders) are run as if they were for both: their
set-up is said as `PUT /{index}` with mappings and `_bulk`. Prints a line a file and a line a step that failed, with
the reason; exit code 1 where a file failed that `--known` does not name.
"""
import argparse
import datetime
import gzip
import http.client
import json
import os
import random
import re
import ssl
import sys
import time
import traceback
import urllib.parse

import yaml

FOLDERS = [
    "es_compatibility",
    "es_compatibility_info",
    "es_field_capabilities",
    "aggregations",
    "search_after",
    "sort_orders",
]
ENGINE = "elasticsearch"
# Types of Quickwit's mappings, in Elasticsearch's words.
TYPES = {"text": "text", "u64": "long", "i64": "long", "f64": "double", "bool": "boolean", "ip": "ip", "json": "object"}


class Loader(yaml.SafeLoader):
    """Times stay texts, numbers may have underscores, and files may be included."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in all_ if not tag.endswith(":timestamp")]
    for first, all_ in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def include(loader, node):
    path, _, inner = loader.construct_scalar(node).partition("::")
    with open(path, encoding="utf-8") as file:
        value = yaml.load(file, Loader)
    for part in filter(None, inner.split(".")):
        value = value[part]
    return value


Loader.add_constructor("!include", include)


def steps_of(path):
    """The steps of a file: YAML documents that are mappings."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for part in re.split(r"^---", text, flags=re.MULTILINE):
        step = yaml.load(part, Loader) if part.strip() else None
        if isinstance(step, dict):
            yield step


def context_of(folder):
    context = {}
    for name in ("_ctx.yaml", f"_ctx.{ENGINE}.yaml"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                context.update(yaml.load(file, Loader) or {})
    return context


# --- Quickwit's set-up in Elasticsearch's words ---------------------------------------------------------------------


def mapping_of(field):
    kind = field.get("type", "text")
    if kind.startswith("array<"):
        kind = kind[6:-1]
    if kind == "object":
        return {"properties": {inner["name"]: mapping_of(inner) for inner in field.get("field_mappings", [])}}
    if kind == "datetime":
        # As Quickwit writes times in buckets: to the second.
        return {"type": "date", "format": "yyyy-MM-dd'T'HH:mm:ssXXX||strict_date_optional_time||epoch_millis"}
    if kind == "text" and (field.get("tokenizer") == "raw" or field.get("fast")):
        return {"type": "keyword"}
    return {"type": TYPES.get(kind, "keyword")}


def guessed(value):
    """How a field is mapped that only documents show."""
    if isinstance(value, list):
        return guessed(value[0]) if value else None
    if isinstance(value, str):
        # Fast fields of dynamic mappings are whole values.
        return {"type": "keyword"}
    return None


def translated(steps):
    """Set-up and teardown steps for Quickwit's own API, as Elasticsearch's: indices with mappings, then documents."""
    steps = list(steps)
    documents = {}
    for step in steps:
        match = re.fullmatch(r"/?([^/]+)/ingest", step.get("endpoint", ""))
        if match:
            docs = step.get("ndjson") or step.get("shuffle_ndjson") or []
            documents.setdefault(match[1], []).extend(docs)
    for step in steps:
        endpoint, method = step.get("endpoint", "").strip("/"), step.get("method")
        if method == "DELETE" and endpoint.startswith("indexes/"):
            yield {"method": "DELETE", "endpoint": endpoint[len("indexes/"):], "status_code": None}
        elif method == "POST" and endpoint == "indexes":
            index = step["json"]["index_id"]
            fields = step["json"].get("doc_mapping", {}).get("field_mappings", [])
            properties = {field["name"]: mapping_of(field) for field in fields}
            for document in documents.get(index, []):
                for name, value in document.items():
                    guess = guessed(value)
                    if guess and name not in properties:
                        properties[name] = guess
            yield {"method": "PUT", "endpoint": index, "json": {"mappings": {"properties": properties}}}
        elif endpoint.endswith("/ingest"):
            index = endpoint[: -len("/ingest")]
            docs = list(step.get("ndjson") or step.get("shuffle_ndjson") or [])
            if "shuffle_ndjson" in step:
                random.Random(step.get("seed", 7)).shuffle(docs)
            lines = [line for doc in docs for line in ({"index": {"_index": index}}, doc)]
            yield {"method": "POST", "endpoint": "_bulk", "params": {"refresh": "true"}, "ndjson": lines}


# --- expectations ---------------------------------------------------------------------------------------------------


class Failed(Exception):
    pass


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check(found, expected, where="$"):
    if isinstance(expected, dict) and "$expect" in expected:
        asked = expected["$expect"]
        # Only the first counts, and nothing beside it, as their own runner has it.
        first = asked if isinstance(asked, str) else asked[0]
        if not eval(first, {}, {"val": found}):  # noqa: S307 - scenario files are trusted
            raise Failed(f"{where}: {first} does not hold of {shown(found)}")
        return
    if is_number(expected) and is_number(found):
        # JSON does not tell 1 from 1.0.
        if found != expected:
            raise Failed(f"{where}: {shown(found)} instead of {shown(expected)}")
        return
    if type(found) is not type(expected):
        raise Failed(f"{where}: {shown(found)} instead of {shown(expected)}")
    if isinstance(expected, dict):
        for key, value in expected.items():
            if key not in found:
                raise Failed(f"{where}: {key} is not there")
            check(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        if len(found) != len(expected):
            raise Failed(f"{where}: {len(found)} entries instead of {len(expected)}: {shown(found)}")
        for at, (one, other) in enumerate(zip(found, expected)):
            check(one, other, f"{where}[{at}]")
    elif found != expected:
        raise Failed(f"{where}: {shown(found)} instead of {shown(expected)}")


def shown(value):
    text = json.dumps(value, default=str)
    return text if len(text) <= 300 else text[:300] + "…"


def resolved(value, previous):
    if isinstance(value, dict):
        if list(value) == ["$previous"]:
            return eval(value["$previous"], {}, {"val": previous})  # noqa: S307
        return {key: resolved(inner, previous) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolved(inner, previous) for inner in value]
    return value


# --- requests -------------------------------------------------------------------------------------------------------


class Server:
    def __init__(self, base, token):
        parts = urllib.parse.urlsplit(base)
        self.host, self.path, self.token = parts.netloc, parts.path.rstrip("/"), token
        self.is_tls = parts.scheme == "https"

    def ask(self, method, endpoint, params, headers, body):
        target = f"{self.path}/{endpoint.lstrip('/')}"
        pairs = []
        for name, value in (params or {}).items():
            for one in value if isinstance(value, list) else [value]:
                pairs.append((name, str(one).lower() if isinstance(one, bool) else str(one)))
        if pairs:
            target += ("&" if "?" in target else "?") + urllib.parse.urlencode(pairs)
        headers = {"User-Agent": "millrace-conformance", **(headers or {})}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        make = http.client.HTTPSConnection if self.is_tls else http.client.HTTPConnection
        options = {"context": ssl._create_unverified_context()} if self.is_tls else {}
        connection = make(self.host, timeout=60, **options)
        try:
            connection.request(method, target, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()


def body_of(step, folder, headers):
    if "body_from_file" in step:
        path = os.path.join(folder, step["body_from_file"])
        if not os.path.exists(path):
            raise Failed(f"the data set {step['body_from_file']} is not in the folder: fetch it whole")
        with open(path, "rb") as file:
            data = file.read()
        gzip.decompress(data) if path.endswith(".gz") else None
        return data
    if step.get("ndjson") is not None:
        headers["Content-Type"] = "application/json"
        return ("\n".join(json.dumps(line) for line in step["ndjson"]) + "\n").encode()
    if "json" in step:
        headers["Content-Type"] = "application/json"
        return json.dumps(step["json"]).encode()
    data = step.get("data")
    return data.encode() if isinstance(data, str) else data


def run_step(server, step, folder, previous):
    """The answer of a step's last method. `server` is None: only what can be checked without one."""
    methods = step.get("method", [])
    methods = methods if isinstance(methods, list) else [methods]
    answer = previous
    for method in methods:
        headers = dict(step.get("headers") or {})
        if server is None:
            body_of(step, folder, headers)
            compiled(step.get("expected"))
            continue
        asked = resolved({k: v for k, v in step.items() if k in ("params", "json", "ndjson", "data")}, previous)
        body = body_of({**step, **asked}, folder, headers)
        wanted = step.get("status_code", 200)
        tries = step.get("num_retries", 0)
        while True:
            status, text = server.ask(method, step.get("endpoint", ""), asked.get("params"), headers, body)
            if wanted is None or status == wanted or tries == 0:
                break
            tries -= 1
            time.sleep(0.5)
        if wanted is not None and status != wanted:
            raise Failed(f"{method} {step.get('endpoint', '')}: status {status} instead of {wanted}: {text[:300]}")
        try:
            answer = json.loads(text) if text else None
        except ValueError as error:
            if step.get("expected") is not None:
                raise Failed(f"{method}: the answer is no JSON: {text[:200]}") from error
            answer = text
        if step.get("expected") is not None:
            check(answer, step["expected"])
    if server is not None and "sleep_after" in step:
        time.sleep(step["sleep_after"])
    return answer


def compiled(expected):
    """Expressions are at least Python."""
    if isinstance(expected, dict):
        asked = expected.get("$expect", [])
        for text in [asked] if isinstance(asked, str) else asked:
            compile(text, "expect", "eval")
        for value in expected.values():
            compiled(value)
    elif isinstance(expected, list):
        for value in expected:
            compiled(value)


# --- running --------------------------------------------------------------------------------------------------------


class Run:
    def __init__(self, server, root):
        self.server, self.root, self.files = server, root, []

    def folder(self, folder, outer, only):
        own = context_of(folder)
        context = {**outer, **own}
        is_theirs = context.get("engines") in (["quickwit"], "quickwit")
        names = sorted(os.listdir(folder))
        scripts = [name for name in names if name.endswith(".yaml") and not name.startswith("_")]
        if not self.setup(folder, "_setup", context, is_theirs):
            print(f"  ({os.path.relpath(folder, self.root)}: the set-up failed; its files follow all the same)")
        for name in scripts:
            path = os.path.join(folder, name)
            if not only or any(os.path.relpath(path, self.root).startswith(prefix) for prefix in only):
                self.file(path, context, is_theirs)
        for name in names:
            inner = os.path.join(folder, name)
            if os.path.isdir(inner):
                self.folder(inner, context, only)
        self.setup(folder, "_teardown", context, is_theirs)

    def setup(self, folder, name, context, is_theirs):
        fine = True
        plain = {k: v for k, v in context.items() if k in ("headers",)}
        for file in (f"{name}.yaml", f"{name}.{ENGINE}.yaml"):
            path = os.path.join(folder, file)
            if os.path.exists(path):
                fine &= self.file(path, {**context, "engines": None}, False)
        theirs = os.path.join(folder, f"{name}.quickwit.yaml")
        if is_theirs and os.path.exists(theirs):
            fine &= self.file(theirs, {**plain, "engines": None}, False, list(translated(steps_of(theirs))))
        return fine

    def file(self, path, context, is_theirs, steps=None):
        shown_path = os.path.relpath(path, self.root)
        record = {"file": shown_path, "passed": 0, "skipped": 0, "failed": [], "is_setup": "/_" in path}
        previous = {}
        try:
            steps = steps_of(path) if steps is None else steps
            for number, step in enumerate(list(steps), 1):
                engines = step.get("engines", None if is_theirs else context.get("engines"))
                if engines and ENGINE not in engines and not is_theirs:
                    record["skipped"] += 1
                    continue
                whole = {**context, **step}
                if is_theirs:
                    # Their paths hold the prefix of Elasticsearch's API.
                    whole["endpoint"] = whole.get("endpoint", "").removeprefix("_elastic/")
                try:
                    previous = run_step(self.server, whole, os.path.dirname(path), previous)
                    record["passed"] += 1
                except Failed as failed:
                    record["failed"].append((number, step.get("desc", ""), str(failed)))
                except Exception as error:  # a broken answer is one step's failure
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    reason = f"{type(error).__name__}: {error} (line {last.lineno})"
                    record["failed"].append((number, step.get("desc", ""), reason))
        except yaml.YAMLError as error:
            record["failed"].append((0, "", f"not read: {error}"))
        self.files.append(record)
        mark = "ok  " if not record["failed"] else "FAIL"
        steps_run = record["passed"] + len(record["failed"])
        print(f"{mark} {shown_path}: {record['passed']}/{steps_run} steps ({record['skipped']} for another engine)")
        for number, desc, reason in record["failed"]:
            print(f"       step {number}{' ' + desc if desc else ''}: {reason}")
        return not record["failed"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--base", default="http://127.0.0.1:7700/elastic")
    parser.add_argument("--only", action="append", default=[], help="paths below the folder that begin so")
    parser.add_argument("--known", help="names files that fail, each with the reason")
    parser.add_argument("--dry", action="store_true", help="read everything, ask nothing")
    parser.add_argument("--token-file")
    parser.add_argument("--json", help="write the outcome there")
    given = parser.parse_args()
    token = open(given.token_file, encoding="utf-8").read().strip() if given.token_file else None
    run = Run(None if given.dry else Server(given.base, token), given.folder)
    began = datetime.datetime.now(datetime.timezone.utc)
    for name in FOLDERS:
        folder = os.path.join(given.folder, name)
        if not os.path.isdir(folder):
            print(f"FAIL {name}: there is no such folder")
            run.files.append({"file": name, "passed": 0, "skipped": 0, "failed": [(0, "", "missing")], "is_setup": False})
        elif not given.only or any(prefix.split("/")[0] == name for prefix in given.only):
            run.folder(folder, {}, given.only)
    print()
    for name in FOLDERS:
        files = [file for file in run.files if file["file"].split("/")[0] == name]
        passed = sum(not file["failed"] for file in files)
        steps = [file for file in files if not file["is_setup"]]
        fine = sum(file["passed"] for file in steps)
        all_ = fine + sum(len(file["failed"]) for file in steps)
        print(f"{name}: {passed} of {len(files)} files, {fine} of {all_} steps")
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({"began": began.isoformat(), "files": run.files}, file, indent=1)
    known = {}
    if given.known:
        with open(given.known, encoding="utf-8") as file:
            lines = (line.strip() for line in file)
            known = dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))
    failed = {file["file"] for file in run.files if file["failed"]}
    for name in sorted(failed & set(known)):
        print(f"known: {name}: {known[name]}")
    for name in sorted(failed - set(known)):
        print(f"FAILED: {name}")
    return 1 if failed - set(known) else 0


if __name__ == "__main__":
    sys.exit(main())
