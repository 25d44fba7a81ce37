//! What nobody may do: changing a catalogue behind the program's back.

use crate::process;
use std::{path::Path, process::Command, time::Duration};

/// Opens a database for writing and does what it is told; prints what that returns, a row a line, as JSON.
const SCRIPT: &str = "import json, sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30)
done = database.execute(sys.argv[2])
rows = done.fetchall()
database.commit()
[print(json.dumps(row)) for row in rows]
print(done.rowcount, file=sys.stderr)";

/// Executes one statement in the `SQLite` file, and returns its rows, one a line, as JSON arrays.
///
/// # Panics
/// When it fails, or changes nothing that it should.
#[track_caller]
pub fn sqlite(file: &Path, statement: &str) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(file).arg(statement);
    let outcome = process::run(&mut command, Duration::from_mins(1));
    assert_eq!(outcome.code, Some(0), "{statement}: {}", outcome.stderr);
    assert_ne!(outcome.stderr.trim(), "0", "{statement} changes nothing");
    outcome.stdout
}
