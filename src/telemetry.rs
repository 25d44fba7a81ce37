//! What the process says of itself: lines on stderr, filtered by `MILLRACE_LOG` (default `info`), as JSON with
//! `MILLRACE_LOG_FORMAT=json`.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts writing. Once a process.
pub(crate) fn start() {
    // librdkafka's own lines repeat what we report; its warnings stay.
    let filter =
        EnvFilter::try_from_env("MILLRACE_LOG").unwrap_or_else(|_| EnvFilter::new("info,librdkafka=warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::env::var("MILLRACE_LOG_FORMAT").is_ok_and(|format| format == "json") {
        lines.json().init();
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).init();
    }
}
