//! `millrace hosts`: the hosts whose agents ship here, and how they are.

use crate::{
    cli::{Code, HostsArgs},
    client::Request,
    table::{show, text, time},
};
use serde_json::Value;

/// Asks and shows.
pub(crate) async fn run(args: &HostsArgs) -> anyhow::Result<Code> {
    let answer = Request::get(&args.server, "api/v1/hosts").send().await?;
    let columns =
        ["HOST", "STATE", "SEEN", "VERSION", "CONFIG", "SOURCES", "UNREAD BYTES", "FOR", "CLOCK", "PROBLEM"];
    show(args.output, &answer, "hosts", &columns, row)
}

fn row(host: &Value) -> Vec<String> {
    let sources =
        host["sources"].as_object().map_or(0, |kinds| kinds.values().filter_map(Value::as_u64).sum());
    vec![
        text(&host["host"]),
        text(&host["state"]),
        time(&host["seen"]),
        text(&host["millrace"]),
        text(&host["config"]),
        sources.to_string(),
        host["backlog_bytes"].to_string(),
        format!("{} s", host["backlog_seconds"]),
        format!("{:+.1} s", host["clock_skew_ms"].as_i64().unwrap_or(0) as f64 / 1000.0),
        text(&host["problem"]),
    ]
}
