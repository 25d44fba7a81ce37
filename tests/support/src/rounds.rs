//! Shards whose lines are known: each is one round of lines, published by itself.

use crate::{Site, Up};
use std::time::Duration;

/// Lines of each shard.
pub const LINES: u64 = 40;

const DEADLINE: Duration = Duration::from_mins(1);

/// Reads all logs of the site; shards are as they were sealed. `more` follows in `[indexer]`.
pub fn settings(site: &Site, more: &str) -> String {
    let logs = site.path("logs");
    format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*.log\"]\n[indexer]\nseal_age = \"1h\"\n{more}",
        logs.display()
    )
}

/// Writes as many lines as a shard is to have, and has them published: an audit asks for that.
pub fn publish(site: &Site, up: &Up<'_>, number: u64) {
    let lines: Vec<String> = (0..LINES).map(|line| format!("shard number{number} line {line}\n")).collect();
    site.append("app.log", lines.concat());
    up.server.wait_for_total(&format!("number{number}"), LINES, DEADLINE);
    up.assert_audit_is_complete(LINES * (number + 1));
}
