//! Every line once, or a word in the audit: what Kafka's retention removed unread, topics that grow, vanish or go back, and
//! state that is lost or put back from a backup.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "once/kafka.rs"]
mod kafka;
#[path = "once/up.rs"]
mod up;

use serde_json::Value;
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
/// Far more than anything here takes, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// The offsets that an audit says the topic lost: kind, partition, first, first behind them.
fn holes(audit: &Value) -> Vec<(&str, i64, i64, i64)> {
    let number = |hole: &Value, name: &str| hole[name].as_i64().unwrap();
    let holes = audit["holes"].as_array().unwrap().iter();
    holes
        .map(|hole| {
            let kind = hole["kind"].as_str().unwrap();
            (kind, number(hole, "partition"), number(hole, "from"), number(hole, "to"))
        })
        .collect()
}

/// The first offset of each partition that is not published.
fn next_offsets(catalogue: &Value) -> Vec<i64> {
    let rows = catalogue["partitions"].as_array().unwrap().iter();
    rows.map(|row| row["next_offset"].as_i64().unwrap_or(0)).collect()
}
