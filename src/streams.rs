//! `millrace streams`: what lies in each stream, holds, and deletions by query; `millrace traffic`: who brings how much.

use crate::{
    cli::{Code, ServerArgs, StreamsCommand, StreamsDeleteArgs, TrafficArgs},
    client::{Request, printable},
    table::{show, text, time},
};
use serde_json::{Value, json};
use std::time::Duration;

/// How often a deletion that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Does what was asked.
pub(crate) async fn run(command: &StreamsCommand) -> anyhow::Result<Code> {
    match command {
        StreamsCommand::List(args) => {
            let answer = Request::get(&args.server, "api/v1/streams").send().await?;
            show(
                args.output,
                &answer,
                "streams",
                &[
                    "STREAM",
                    "RECORDS",
                    "BYTES",
                    "SHARDS",
                    "KEPT",
                    "HOLD",
                    "BEYOND MAX_FIELDS",
                    "TYPE CONFLICTS",
                ],
                row,
            )
        }
        StreamsCommand::Hold { name, reason, server } => {
            let path = format!("api/v1/streams/{name}/hold");
            let answer = Request::put(server, &path, json!({ "reason": reason })).send().await?;
            eprintln!("{name} is on hold: {}", text(&answer["hold"]["reason"]));
            Ok(Code::Ok)
        }
        StreamsCommand::Release { name, server } => {
            Request::delete(server, &format!("api/v1/streams/{name}/hold")).send().await?;
            eprintln!("{name} is not on hold any more");
            Ok(Code::Ok)
        }
        StreamsCommand::Delete(args) => delete(args).await,
        StreamsCommand::Deletions { name, output, server } => {
            let answer = deletions(server, name).await?;
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

/// `millrace traffic`.
pub(crate) async fn traffic(args: &TrafficArgs) -> anyhow::Result<Code> {
    let TrafficArgs { days, by, output, server } = args;
    let path = format!("api/v1/traffic?days={days}&by={by}");
    let answer = Request::get(server, &path).send().await?;
    let columns = ["DAY", "STREAM", "HOST", "RECORDS", "BYTES", "SHARE", "HELD BACK"];
    show(*output, &answer, "traffic", &columns, |row| {
        vec![
            text(&row["day"]),
            text(&row["stream"]),
            text(&row["host"]),
            row["records"].to_string(),
            row["bytes"].to_string(),
            format!("{:.1} %", row["share"].as_f64().unwrap_or(0.0) * 100.0),
            row["held_bytes"].to_string(),
        ]
    })
}

async fn deletions(server: &ServerArgs, name: &str) -> anyhow::Result<Value> {
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
    let mut answer = Request::post(server, &path, body).about(query).send().await?;
    eprintln!("hidden: no search shows it any more");
    if *wait {
        let number = answer["number"].clone();
        while answer["state"] != "purged" {
            tokio::time::sleep(LOOK).await;
            let all = deletions(server, name).await?;
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
        stream["fields"]["beyond_max_fields"].as_u64().unwrap_or(0).to_string(),
        conflicts(&stream["fields"]["conflicts"]),
    ]
}

/// The fields with values of another type than is declared, and how many records have such: those with the most first.
fn conflicts(conflicts: &Value) -> String {
    let mut fields: Vec<(u64, &String)> = conflicts
        .as_object()
        .into_iter()
        .flatten()
        .map(|(field, records)| (records.as_u64().unwrap_or(0), field))
        .collect();
    fields.sort_by_key(|(records, _)| std::cmp::Reverse(*records));
    let named: Vec<String> = fields.iter().map(|(records, field)| format!("{field} {records}")).collect();
    if named.is_empty() { "-".to_owned() } else { printable(&named.join(", ")) }
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
    fn the_fields_with_most_conflicts_are_named_first() {
        let said = json!({ "a": 2, "status": 312, "\u{1b}[2J": 1 });
        assert_eq!(conflicts(&said), "status 312, a 2, \u{fffd}[2J 1");
        assert_eq!((conflicts(&json!({})), conflicts(&Value::Null)), ("-".to_owned(), "-".to_owned()));
    }

    #[test]
    fn ages_are_said_in_the_largest_unit_that_fits() {
        assert_eq!([2_592_000, 7_200, 90, 0].map(days), ["30d", "2h", "90s", "-"]);
    }
}
