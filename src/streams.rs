//! `millrace streams`: what lies in each stream, holds, and deletions by query.

use crate::{
    cli::{Code, Output, StreamsCommand, StreamsDeleteArgs, written},
    client::{self, Request},
};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    time::Duration,
};

/// How often a deletion that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Does what was asked.
pub(crate) async fn run(command: &StreamsCommand) -> anyhow::Result<Code> {
    match command {
        StreamsCommand::List(args) => {
            let answer = Request::get(&args.server.server, "api/v1/streams").send().await?;
            show(
                args.output,
                &answer,
                "streams",
                &["STREAM", "RECORDS", "BYTES", "SHARDS", "KEPT", "HOLD"],
                row,
            )
        }
        StreamsCommand::Hold { name, reason, server } => {
            let path = format!("api/v1/streams/{name}/hold");
            let answer = Request::put(&server.server, &path, json!({ "reason": reason })).send().await?;
            eprintln!("{name} is on hold: {}", text(&answer["hold"]["reason"]));
            Ok(Code::Ok)
        }
        StreamsCommand::Release { name, server } => {
            Request::delete(&server.server, &format!("api/v1/streams/{name}/hold")).send().await?;
            eprintln!("{name} is not on hold any more");
            Ok(Code::Ok)
        }
        StreamsCommand::Delete(args) => delete(args).await,
        StreamsCommand::Deletions { name, output, server } => {
            let answer = deletions(&server.server, name).await?;
            let columns = [
                "NUMBER",
                "STATE",
                "RECORDS",
                "SHARDS LEFT",
                "REQUESTED",
                "PURGED",
                "TOPIC COPY UNTIL",
                "QUERY",
            ];
            show(*output, &answer, "deletions", &columns, receipt)
        }
    }
}

async fn deletions(server: &str, name: &str) -> anyhow::Result<Value> {
    Request::get(server, &format!("api/v1/streams/{name}/deletions")).send().await
}

async fn delete(args: &StreamsDeleteArgs) -> anyhow::Result<Code> {
    let StreamsDeleteArgs { name, query, since, until, reason, wait, output, server } = args;
    let mut body = json!({ "q": query, "reason": reason });
    for (key, value) in [("from", since), ("to", until)] {
        if let Some(value) = value {
            body[key] = json!(value);
        }
    }
    let path = format!("api/v1/streams/{name}/delete");
    let mut answer = Request::post(&server.server, &path, body).about(query).send().await?;
    eprintln!("hidden: no search shows it any more");
    if *wait {
        let number = answer["number"].clone();
        while answer["state"] != "purged" {
            tokio::time::sleep(LOOK).await;
            let all = deletions(&server.server, name).await?;
            let of_it = all["deletions"].as_array().into_iter().flatten().find(|one| one["number"] == number);
            answer = of_it.cloned().unwrap_or_default();
        }
        eprintln!("purged: no shard holds it any more");
    }
    let all = json!({ "deletions": [answer] });
    let columns =
        ["NUMBER", "STATE", "RECORDS", "SHARDS LEFT", "REQUESTED", "PURGED", "TOPIC COPY UNTIL", "QUERY"];
    show(*output, &all, "deletions", &columns, receipt)
}

/// Writes what lies under `key` of an answer: as a table, whole, or one a line.
fn show(
    output: Output,
    answer: &Value,
    key: &str,
    columns: &[&str],
    row: fn(&Value) -> Vec<String>,
) -> anyhow::Result<Code> {
    let items = answer[key].as_array().cloned().unwrap_or_default();
    let mut out = io::stdout().lock();
    match output {
        Output::Json => written(writeln!(out, "{answer:#}"))?,
        Output::Ndjson => written(items.iter().try_for_each(|item| writeln!(out, "{item}")))?,
        Output::Text => {
            let header = columns.iter().map(|&column| column.to_owned()).collect();
            let rows: Vec<Vec<String>> = std::iter::once(header).chain(items.iter().map(row)).collect();
            written(table(&rows).iter().try_for_each(|line| writeln!(out, "{line}")))?;
        }
    }
    Ok(Code::Ok)
}

/// Rows as lines, each column as wide as it must be.
fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |at| rows.iter().filter_map(|row| row.get(at)).map(|cell: &String| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(stream: &Value) -> Vec<String> {
    let mut kept = days(stream["retention_seconds"].as_u64().unwrap_or(0));
    if let Some(bytes) = stream["retention_bytes"].as_u64() {
        kept = format!("{kept}, {bytes} bytes");
    }
    vec![
        text(&stream["name"]),
        stream["records"].to_string(),
        stream["bytes"].to_string(),
        stream["shards"].to_string(),
        kept,
        text(&stream["hold"]["reason"]),
    ]
}

fn receipt(deletion: &Value) -> Vec<String> {
    // Once it is done nobody knows the query any more.
    let query = match &deletion["q"] {
        Value::Null => format!("sha256:{}", text(&deletion["q_sha256"])),
        query => text(query),
    };
    vec![
        deletion["number"].to_string(),
        text(&deletion["state"]),
        deletion["records"].to_string(),
        deletion["shards_left"].to_string(),
        time(&deletion["requested"]),
        time(&deletion["purged"]),
        time(&deletion["topic_copy_expires"]),
        query,
    ]
}

/// A text without its quotes; nothing is `-`.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), client::printable)
}

/// A time to the second.
fn time(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), |time| format!("{}Z", time.get(..19).unwrap_or(time)))
}

fn days(seconds: u64) -> String {
    match seconds {
        0 => "-".to_owned(),
        seconds if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        seconds if seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [vec!["A".to_owned(), "BC".to_owned()], vec!["größer".to_owned(), String::new()]];
        assert_eq!(table(&rows), ["A       BC", "größer"]);
    }

    #[test]
    fn times_are_said_to_the_second() {
        assert_eq!(time(&json!("2026-11-26T20:49:58.853917939Z")), "2026-11-26T20:49:58Z");
        assert_eq!(time(&Value::Null), "-");
    }

    #[test]
    fn ages_are_said_in_the_largest_unit_that_fits() {
        assert_eq!([2_592_000, 7_200, 90, 0].map(days), ["30d", "2h", "90s", "-"]);
    }
}
