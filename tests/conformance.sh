#!/usr/bin/env bash
# Runs the suites of a folder: each executable `run` or `*.sh` in it, and `run` in its subfolders; of a copy of Quickwit its tests of
# Elasticsearch's API. MILLRACE_BIN names the binary. All are run; the exit code is 1 if any failed, 2 if there is nothing to run.
set -euo pipefail

folder=${1:-}
if [ -z "$folder" ]; then
    echo "conformance: say which folder: make conformance DIR=/path/of/the/suites" >&2
    exit 2
fi
if [ ! -d "$folder" ]; then
    echo "conformance: $folder is not a folder" >&2
    exit 2
fi
if [ ! -x "${MILLRACE_BIN:-}" ]; then
    echo "conformance: MILLRACE_BIN must name the binary; make conformance builds it" >&2
    exit 2
fi
export MILLRACE_BIN

count=0
failed=()

# Quickwit's scenarios against a server of ours, over an empty folder.
quickwit() { # quickwit SCENARIOS
    local here data port server outcome=0
    here=$(cd "$(dirname "$0")" && pwd)
    data=$(mktemp -d)
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$MILLRACE_BIN" up --data "$data" --listen "127.0.0.1:$port" --watch "$data/none" > "$data/log" 2>&1 &
    server=$!
    until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/readyz" || ! kill -0 "$server"; do sleep 0.1; done
    "$here/../target/venv/bin/python" "$here/conformance/quickwit.py" "$1" --base "http://127.0.0.1:$port/elastic" \
        --known "$here/conformance/quickwit-known.txt" || outcome=1
    kill "$server"
    wait "$server" || true
    rm -rf "$data"
    return $outcome
}

scenarios=$folder/quickwit/rest-api-tests/scenarii
if [ -d "$scenarios" ]; then
    count=1
    echo "== $scenarios" >&2
    quickwit "$(realpath "$scenarios")" || failed+=("$scenarios")
fi
for suite in "$folder"/run "$folder"/*.sh "$folder"/*/run; do
    if [ ! -f "$suite" ] || [ ! -x "$suite" ]; then
        continue
    fi
    count=$((count + 1))
    echo "== $suite" >&2
    suite=$(realpath "$suite")
    if ! (cd "$(dirname "$suite")" && "$suite"); then
        failed+=("$suite")
    fi
done

if [ "$count" -eq 0 ]; then
    echo "conformance: nothing executable named run or *.sh in $folder" >&2
    exit 2
fi
echo "conformance: $((count - ${#failed[@]})) of $count suites passed" >&2
if [ ${#failed[@]} -gt 0 ]; then
    printf 'conformance: failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
