#!/usr/bin/env bash
# Runs the suites of a folder: each executable `run` or `*.sh` in it, and `run` in its subfolders. MILLRACE_BIN names the
# binary. All are run; the exit code is 1 if any failed, 2 if there is nothing to run.
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
