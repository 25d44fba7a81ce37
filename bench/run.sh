#!/usr/bin/env bash
# Measures target/release/millrace and prints markdown; builds nothing.
#
#   bench/run.sh [--short] [--write] [idle] [files] [freshness] [throughput] [detection] [store] [indexer]
#
# Without names: the first five, and store where MILLRACE_CORPORA is set (bench/store says what it must hold, and which
# program it needs). --short takes a few minutes and is for trying it out; its figures are no result.
# --write puts the rows into bench/RESULTS.md as well. Settings from outside:
#   MILLRACE_BIN            the binary [target/release/millrace]
#   MILLRACE_CORPUS_TOOL    another generator for throughput: takes -n N --json FILE --raw FILE [bench/corpus.py]
#   MILLRACE_BENCH_DIR      on which disk the data lies meanwhile [the system's temporary folder]
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n '2,11s/^# \{0,1\}//p' bench/run.sh >&2
    exit 2
}

short=false
write=false
names=()
for argument in "$@"; do
    case $argument in
        --short) short=true ;;
        --write) write=true ;;
        idle | files | freshness | throughput | detection | store | indexer) names+=("$argument") ;;
        *) usage ;;
    esac
done
if [ ${#names[@]} -eq 0 ]; then
    names=(idle files freshness throughput detection)
    if [ -n "${MILLRACE_CORPORA:-}" ]; then
        names+=(store)
    fi
fi
if $short && $write; then
    echo "bench: figures of a short run are not written" >&2
    exit 2
fi

# The command that repeats one figure.
command_of() {
    case $1 in
        idle) echo "bench/idle.py --starts $($short && echo 3 || echo 9) --seconds $($short && echo 5 || echo 60)" ;;
        files) echo "bench/idle.py --files $($short && echo 1000 || echo 10000) --seconds $($short && echo 5 || echo 60)" ;;
        freshness) echo "bench/freshness.py --seconds $($short && echo 20 || echo 300)" ;;
        throughput) echo "bench/throughput.py --lines $($short && echo 100000 || echo 2000000)" ;;
        detection) echo "bench/detection.py latency$($short && echo " --short")" ;;
        indexer) echo "bench/indexer.py$($short && echo " --short")" ;;
        store) echo "bench/store$($short && echo " --short")" ;;
    esac
}

rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
for name in "${names[@]}"; do
    command=$(command_of "$name")
    {
        # The command is words of this script's own, without anything that would need quoting.
        # shellcheck disable=SC2086
        $command
        prefix=
        if [ "$name" = throughput ] && [ -n "${MILLRACE_CORPUS_TOOL:-}" ]; then
            prefix="MILLRACE_CORPUS_TOOL=$(basename "$MILLRACE_CORPUS_TOOL") "
        fi
        # The store says after each of its own tables how that is repeated.
        if [ "$name" != store ]; then
            echo "Repeat: \`$prefix$command\`"
            echo
        fi
    } | tee -a "$rows"
done

if $write; then
    python3 bench/write_results.py bench/RESULTS.md < "$rows"
fi
