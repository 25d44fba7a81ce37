//! A reader, writer and administrator of Kafka topics that shares no code with the product: `tests/foreign.py`.

use crate::process;
use serde_json::Value;
use std::{
    io::{Seek, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// How long a command may take on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// Runs one of its commands against the broker; its answer, a line of JSON each. `input`: what it reads from its standard input.
///
/// # Panics
/// When its environment is not there, or it fails or takes longer than two minutes.
#[track_caller]
pub fn foreign(broker: &str, arguments: &[&str], input: &str) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/venv/bin/python");
    assert!(python.exists(), "no {}: run `make test`, which makes it", python.display());
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(input.as_bytes()).expect("a file can be written");
    file.rewind().expect("a file can be read");
    let mut command = Command::new(python);
    command.arg(root.join("tests/foreign.py")).arg(broker).args(arguments).stdin(Stdio::from(file));
    let outcome = process::run(&mut command, DEADLINE);
    assert_eq!(outcome.code, Some(0), "{arguments:?}: {}", outcome.stderr);
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
