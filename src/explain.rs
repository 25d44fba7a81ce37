//! What was done for a search, for people: `millrace search --explain`.

use crate::{client::printable, table};
use serde_json::Value;
use std::io::{self, Write};

/// Columns of the lines of shards, and which of them are numbers.
const SHARD: [&str; 9] =
    ["shard", "stream", "from", "to", "records", "matched", "chunks looked at", "ms", "outcome"];
const RIGHT: [bool; 9] = [false, false, false, false, true, true, true, true, false];

/// Writes the explanation of an answer.
pub(crate) fn write(out: &mut impl Write, answer: &Value) -> io::Result<()> {
    explanation(out, &answer["explain"])
}

fn explanation(out: &mut impl Write, told: &Value) -> io::Result<()> {
    for joined in list(&told["joined"]) {
        writeln!(out, "joined, and answered first:")?;
        let mut lines = Vec::new();
        explanation(&mut lines, joined)?;
        for line in String::from_utf8_lossy(&lines).lines() {
            writeln!(out, "  {line}")?;
        }
    }
    writeln!(out, "filter: {}", text(&told["filter"]))?;
    for (name, stands_for) in told["names"].as_object().into_iter().flatten() {
        writeln!(out, "  {}: the first of {}", printable(name), names(stands_for))?;
    }
    writeln!(out, "time: {} to {}", text(&told["range"]["from"]), text(&told["range"]["to"]))?;
    if told["streams"].is_array() {
        writeln!(out, "streams: {}", names(&told["streams"]))?;
    }
    writeln!(out, "where records lie:")?;
    fragment(out, &told["where_records_lie"])?;
    for one in list(&told["where_it_is_answered"]) {
        writeln!(out, "then, where it is answered:")?;
        fragment(out, one)?;
    }
    shards(out, &told["shards"])?;
    for leaf in list(&told["leaves"]) {
        let node = text(&leaf["node"]);
        match leaf["problem"].as_str() {
            Some(problem) => writeln!(out, "leaf {node}: no answer: {}", printable(problem))?,
            None => writeln!(out, "leaf {node}: {} match, {} ms", leaf["matched"], leaf["took_ms"])?,
        }
    }
    list(&told["offsets"]).iter().try_for_each(|one| offsets(out, one))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), printable)
}

fn names(value: &Value) -> String {
    let names: Vec<String> = list(value).iter().map(text).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn fragment(out: &mut impl Write, told: &Value) -> io::Result<()> {
    if !list(&told["reads"]).is_empty() {
        writeln!(out, "  reads {}", names(&told["reads"]))?;
    }
    for step in list(&told["steps"]) {
        writeln!(out, "  {}", text(step))?;
    }
    writeln!(out, "  gathers {}", text(&told["gathers"]))?;
    match told["shortcut"].as_str() {
        Some(shortcut) => writeln!(out, "  by {shortcut}"),
        None => Ok(()),
    }
}

fn shards(out: &mut impl Write, told: &Value) -> io::Result<()> {
    let reasons = told["pruned"].as_object().into_iter().flatten();
    let pruned: Vec<String> = reasons.map(|(reason, count)| format!("{count} by {reason}")).collect();
    write!(out, "shards: {} considered, {} searched", told["considered"], told["searched"])?;
    if !pruned.is_empty() {
        write!(out, ", ruled out {}", pruned.join(", "))?;
    }
    if told["failed"] != 0 {
        write!(out, ", {} could not be searched", told["failed"])?;
    }
    writeln!(out)?;
    let each = list(&told["each"]);
    if each.is_empty() {
        return Ok(());
    }
    let header = SHARD.map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(each.iter().map(shard)).collect();
    table::lines(&rows, &RIGHT).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    match told["left_off"].as_u64() {
        Some(more) if more > 0 => writeln!(out, "  and {more} more"),
        _ => Ok(()),
    }
}

fn shard(told: &Value) -> Vec<String> {
    let chunks = &told["chunks"];
    let looked_at = if chunks.is_object() {
        format!("{} of {}", chunks["open"], chunks["total"])
    } else {
        "-".to_owned()
    };
    let outcome = match told["outcome"]["pruned"].as_str() {
        Some(reason) => format!("ruled out by {reason}"),
        None => text(&told["outcome"]),
    };
    // Seconds are enough to tell shards apart.
    let second = |time: &Value| time.as_str().and_then(|time| time.get(..19)).unwrap_or("-").to_owned();
    let number = |name: &str| told[name].to_string();
    vec![
        text(&told["id"]),
        text(&told["stream"]),
        second(&told["first"]),
        second(&told["last"]),
        number("records"),
        number("matched"),
        looked_at,
        number("took_ms"),
        outcome,
    ]
}

fn offsets(out: &mut impl Write, told: &Value) -> io::Result<()> {
    write!(out, "{} {}: ", text(&told["topic"]), told["partition"])?;
    match told["published"].as_i64() {
        Some(next) => write!(out, "shards up to {next}")?,
        None => write!(out, "no shards")?,
    }
    let held = &told["held"];
    if held.is_object() {
        let (node, epoch) = (text(&held["node"]), &held["epoch"]);
        writeln!(out, ", {node} (epoch {epoch}) from {} to {} of {}", held["from"], held["to"], held["end"])
    } else {
        writeln!(out, ", nobody behind")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_explanation_is_read_from_top_to_bottom() {
        let fragment = |gathers: &str| json!({ "reads": ["user"], "steps": ["where user = \"ann\""], "gathers": gathers });
        let shard = |outcome: Value, chunks: Value| {
            json!({
                "id": "01", "stream": "app", "first": "2026-01-15T10:00:00.000000000Z", "last": "2026-01-15T10:30:00.000000000Z",
                "records": 100, "bytes": 7, "matched": 3, "scanned_bytes": 9, "took_ms": 2, "outcome": outcome, "chunks": chunks,
            })
        };
        let each = [
            shard(json!("searched"), json!({ "total": 5, "open": 2 })),
            shard(json!({ "pruned": "terms" }), json!({ "total": 5, "open": 0 })),
            shard(json!("failed"), Value::Null),
        ];
        let answer = json!({ "explain": {
            "filter": "user:ann", "names": { "user": ["user", "user.name"] }, "range": { "from": "a", "to": "b" }, "streams": ["app"],
            "where_records_lie": fragment("stats count() by user"), "where_it_is_answered": [fragment("all rows: user")],
            "shards": { "considered": 9, "searched": 1, "failed": 1, "pruned": { "terms": 1, "time": 6 }, "each": each, "left_off": 4 },
            "leaves": [{ "node": "a", "matched": 8, "scanned_bytes": 1, "took_ms": 3 }, { "node": "b", "matched": 0, "problem": "gone\u{1b}" }],
            "offsets": [
                { "topic": "t", "partition": 0, "published": 5, "held": { "node": "a", "epoch": 2, "from": 5, "to": 9, "end": 10 } },
                { "topic": "t", "partition": 1, "published": null },
            ],
        } });
        let mut out = Vec::new();
        let written = write(&mut out, &answer).map(|()| String::from_utf8_lossy(&out).into_owned());
        let expected = "\
filter: user:ann
  user: the first of user, user.name
time: a to b
streams: app
where records lie:
  reads user
  where user = \"ann\"
  gathers stats count() by user
then, where it is answered:
  reads user
  where user = \"ann\"
  gathers all rows: user
shards: 9 considered, 1 searched, ruled out 1 by terms, 6 by time, 1 could not be searched
  shard  stream  from                 to                   records  matched  chunks looked at  ms  outcome
  01     app     2026-01-15T10:00:00  2026-01-15T10:30:00      100        3            2 of 5   2  searched
  01     app     2026-01-15T10:00:00  2026-01-15T10:30:00      100        3            0 of 5   2  ruled out by terms
  01     app     2026-01-15T10:00:00  2026-01-15T10:30:00      100        3                 -   2  failed
  and 4 more
leaf a: 8 match, 3 ms
leaf b: no answer: gone\u{fffd}
t 0: shards up to 5, a (epoch 2) from 5 to 9 of 10
t 1: no shards, nobody behind
";
        assert_eq!(written.ok().as_deref(), Some(expected));
    }
}
