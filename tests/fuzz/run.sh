#!/usr/bin/env bash
# Runs each fuzz target for so many minutes, one after the other, from what it found before, its seeds and the examples of the docs:
#
#   tests/fuzz/run.sh MINUTES [TARGET…]
#
# What makes one fail is kept in target/fuzz/TARGET/failed: the target run on that file alone shows it again.
set -euo pipefail
cd "$(dirname "$0")"

minutes=${1:?how many minutes each target is to run}
if ! [ "$minutes" -gt 0 ]; then
    echo "fuzz: at least one minute expected, found $minutes" >&2
    exit 2
fi
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' Cargo.toml)
fi
root=$(cd ../.. && pwd)
kept=$root/target/fuzz

# The versions of the binary that is shipped.
cp "$root/Cargo.lock" Cargo.lock
export CARGO_TARGET_DIR=$kept/build
# No sanitizer: none of this is `unsafe`, and overflows and assertions are looked at. Memory is bounded by libFuzzer itself.
cargo +nightly fuzz build --fuzz-dir . --sanitizer none
host=$(rustc +nightly -vV | sed -n 's/^host: //p')

# seeds TARGET FOLDER: what to begin with.
seeds() {
    mkdir -p "$2"
    if [ -d "seeds/$1" ]; then
        cp "seeds/$1"/* "$2"
    fi
    case $1 in
        query_language) examples "$root/docs/query-language.md" "s/^\\$ millrace search '\(.*\)'.*/\1/p" "$2" ;;
        logql) examples "$root/tests/loki.rs" 's/.*"\({[a-z_]* *=.*\)".*/\1/p' "$2" ;;
    esac
}

# examples FILE EXPRESSION FOLDER: a file for each line that sed finds.
examples() {
    local number=0 line
    while IFS= read -r line; do
        number=$((number + 1))
        printf '%s' "$line" > "$3/example-$number"
    done < <(sed -n "$2" "$1")
}

failed=0
for target in "${targets[@]}"; do
    mkdir -p "$kept/$target/found" "$kept/$target/failed"
    seeds "$target" "$kept/$target/seeds"
    echo "fuzz: $target, $minutes minutes" >&2
    "$CARGO_TARGET_DIR/$host/release/$target" "$kept/$target/found" "$kept/$target/seeds" \
        -max_total_time=$((minutes * 60)) -timeout=20 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 -print_funcs=0 \
        -artifact_prefix="$kept/$target/failed/" -verbosity=0 || failed=1
done
exit $failed
