//! A catalogue in a file: what snapshots are written as and read back from. It owns the format, and not where files lie.
//!
//! ```text
//! zstd( {"format":"millrace catalogue","version":1,"schema":2,"at":"…"}
//!       {"table":"alerts","columns":["id",…]}          a table begins, by name
//!       ["…",1,true,null,{"hex":"00ff"}]               a row of it
//!       {"rows":12,"sha256":"…"} )                     the end: SHA-256 over all lines before
//! ```
//! **Invariant:** a snapshot is one instant, and is believed only when it is whole: without its last line, or with another
//! hash than that, it is none.

use crate::{
    Catalogue,
    tables::{Cell, ReadError, TakeRows, unhex},
};
use millrace_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

const FORMAT: &str = "millrace catalogue";
const VERSION: u32 = 1;
const LEVEL: i32 = 3;

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    format: String,
    version: u32,
    /// The schema's version.
    pub schema: u64,
    /// When it was taken: what was committed later is not in it.
    pub at: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    rows: u64,
    sha256: String,
}

/// A snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file system refused.
    #[error("the snapshot {path} cannot be read")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is cut short or changed, or is no snapshot.
    #[error("{path} is no whole snapshot: {problem}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A newer program has written it.
    #[error("{path} has snapshot version {found}; this program reads version {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// A line of a snapshot between its head and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotLine {
    /// A table begins.
    Table {
        /// Its name.
        name: String,
        /// Its columns.
        columns: Vec<String>,
    },
    /// A row of the table that began last.
    Row(Vec<Cell>),
}

struct Writer<W: Write> {
    out: W,
    digest: Sha256,
    rows: u64,
}

impl<W: Write> Writer<W> {
    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.digest.update(&line);
        self.out.write_all(&line)
    }

    fn finish(mut self) -> io::Result<(W, u64)> {
        let (rows, sha256) = (self.rows, hexadecimal(&self.digest.clone().finalize()));
        self.line(&End { rows, sha256 })?;
        Ok((self.out, rows))
    }
}

impl<W: Write + Send> TakeRows for Writer<W> {
    fn table(&mut self, name: &str, columns: &[&str]) -> io::Result<()> {
        self.line(&json!({ "table": name, "columns": columns }))
    }

    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.rows += 1;
        self.line(&cells.iter().map(Cell::to_json).collect::<Vec<_>>())
    }
}

impl Cell {
    /// As JSON: bytes as `{"hex":"…"}`, everything else as it is.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Number(number) => json!(number),
            Self::Truth(truth) => json!(truth),
            Self::Text(text) => json!(text),
            Self::Bytes(bytes) => json!({ "hex": hexadecimal(bytes) }),
        }
    }

    fn from_json(value: Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Truth(truth),
            Value::Number(number) => Self::Number(number.as_i64()?),
            Value::String(text) => Self::Text(text),
            Value::Object(object) => Self::Bytes(unhex(object.get("hex")?.as_str()?)?),
            Value::Array(_) => return None,
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

impl Catalogue {
    /// Writes a snapshot of this moment into `file`, syncs it, and returns what it says of itself and how many rows it has.
    /// Holds a row at a time in memory; writes from within the caller's task, a buffer at a time.
    pub async fn write_snapshot(&self, file: &Path) -> Result<(SnapshotHead, u64), ReadError> {
        let out = zstd::Encoder::new(BufWriter::new(File::create(file)?), LEVEL)?;
        // Before the instant that is read: what is said to be in it is.
        let at = self.clock.now();
        let mut transaction = self.begin_read("take a snapshot").await?;
        let schema = self.schema_version(&mut transaction).await?;
        let head = SnapshotHead { format: FORMAT.to_owned(), version: VERSION, schema, at };
        let mut writer = Writer { out, digest: Sha256::new(), rows: 0 };
        writer.line(&head)?;
        self.read_all_in(&mut transaction, &mut writer).await?;
        let (out, rows) = writer.finish()?;
        let file = out.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok((head, rows))
    }
}

/// Reads a snapshot line by line; `visit` may end it by an error. Blocks. Only when this returns well was the snapshot
/// whole: read it once for that before believing any line of it.
pub fn read_snapshot<E: From<SnapshotError>>(
    path: &Path,
    mut visit: impl FnMut(SnapshotLine) -> Result<(), E>,
) -> Result<SnapshotHead, E> {
    let failed = |source| SnapshotError::Io { path: path.to_owned(), source };
    let bad = |problem: &str| SnapshotError::Corrupt { path: path.to_owned(), problem: problem.to_owned() };
    let unpacked = File::open(path).and_then(zstd::Decoder::new).map_err(failed)?;
    let mut lines = BufReader::with_capacity(1 << 16, unpacked);
    let (mut digest, mut line) = (Sha256::new(), Vec::new());
    let mut next = |line: &mut Vec<u8>| {
        line.clear();
        // What does not unpack is not what was written.
        lines.read_until(b'\n', line).map_err(|error| bad(&error.to_string()))
    };
    next(&mut line)?;
    let head: SnapshotHead =
        serde_json::from_slice(&line).map_err(|_| bad("its first line is not that of a snapshot"))?;
    if head.format != FORMAT {
        return Err(bad("its first line is not that of a snapshot").into());
    }
    if head.version != VERSION {
        return Err(SnapshotError::Version { path: path.to_owned(), found: head.version }.into());
    }
    digest.update(&line);
    let mut rows = 0;
    loop {
        if next(&mut line)? == 0 {
            return Err(bad("it has no end").into());
        }
        let value: Value = serde_json::from_slice(&line).map_err(|_| bad("a line is not JSON"))?;
        match value {
            Value::Array(cells) => {
                let cells: Option<Vec<Cell>> = cells.into_iter().map(Cell::from_json).collect();
                rows += 1;
                visit(SnapshotLine::Row(cells.ok_or_else(|| bad("a row has a value of no kind"))?))?;
            }
            Value::Object(ref object) if object.contains_key("table") => {
                let columns = value["columns"].as_array().map(Vec::as_slice).unwrap_or_default();
                let columns = columns.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
                let name = value["table"].as_str().unwrap_or_default().to_owned();
                visit(SnapshotLine::Table { name, columns })?;
            }
            _ => {
                let end: End = serde_json::from_value(value).map_err(|_| bad("a line is of no kind"))?;
                if end.rows != rows || end.sha256 != hexadecimal(&digest.finalize()) {
                    return Err(bad("its lines are not those that were written").into());
                }
                if next(&mut line)? != 0 {
                    return Err(bad("it goes on after its end").into());
                }
                return Ok(head);
            }
        }
        digest.update(&line);
    }
}
