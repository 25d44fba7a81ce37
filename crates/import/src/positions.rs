//! How far other tools have read: their registries, as positions in files.

mod filebeat;

use super::{ImportError, LeftOut, Tool};
use serde_json::Value;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A file that was read, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Its path when it was read last; `None`: the tool does not keep it (Vector), and the file is known by its inode.
    pub path: Option<PathBuf>,
    /// The device that it lies on.
    pub device: Option<u64>,
    /// Its number there.
    pub inode: Option<u64>,
    /// So many bytes of it were read.
    pub position: u64,
}

/// What a tool kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions {
    /// Files and positions.
    pub kept: Vec<Position>,
    /// What cannot be taken over, and why.
    pub left_out: Vec<LeftOut>,
}

impl Positions {
    fn leave(&mut self, at: impl Into<String>, why: impl Into<String>) {
        self.left_out.push(LeftOut { at: at.into(), why: why.into() });
    }
}

/// The positions in Fluent Bit's database (SQLite): rows for [`from_rows`].
pub const FLUENT_BIT_QUERY: &str = "SELECT name, offset, inode FROM in_tail_files ORDER BY id";

/// The positions a tool kept. `registry`: Filebeat's folder (`registry`, or `registry/filebeat`) or its file of old; Promtail's
/// file; Vector's `data_dir`, the folder of one of its sources, or a `checkpoints.json`. Blocks.
///
/// # Errors
/// Something cannot be read, or is not what the tool writes. Fluent Bit's database is read by a query, not here.
pub fn positions(tool: Tool, registry: &Path) -> Result<Positions, ImportError> {
    match tool {
        Tool::Filebeat => filebeat::positions(registry),
        Tool::Promtail => promtail(registry),
        Tool::FluentBit => {
            let what = "Fluent Bit keeps its positions in a database, which a query reads";
            Err(ImportError::whole(registry, what))
        }
        Tool::Vector => vector(registry),
    }
}

/// Fluent Bit's positions: what [`FLUENT_BIT_QUERY`] finds.
pub fn from_rows(rows: impl IntoIterator<Item = (String, i64, i64)>) -> Positions {
    let mut positions = Positions::default();
    for (name, offset, inode) in rows {
        match (u64::try_from(offset), u64::try_from(inode)) {
            (Ok(position), Ok(inode)) => positions.kept.push(Position {
                path: Some(name.into()),
                device: None,
                inode: (inode > 0).then_some(inode),
                position,
            }),
            _ => positions.leave(name, format!("no position: offset {offset}, inode {inode}")),
        }
    }
    positions
}

fn read(file: &Path) -> Result<String, ImportError> {
    fs::read(file)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|source| ImportError::Io { file: file.to_owned(), source })
}

fn read_json(file: &Path) -> Result<Value, ImportError> {
    serde_json::from_str(&read(file)?).map_err(|error| ImportError::Syntax {
        file: file.to_owned(),
        place: Some((error.line(), error.column())),
        message: error.to_string(),
    })
}

/// Promtail's file: paths and positions, and cursors of journals among them.
fn promtail(file: &Path) -> Result<Positions, ImportError> {
    use serde_yaml_ng::Value as Yaml;
    let wrong = |error: serde_yaml_ng::Error| ImportError::Syntax {
        file: file.to_owned(),
        place: error.location().map(|place| (place.line(), place.column())),
        message: error.to_string(),
    };
    let document: Yaml = serde_yaml_ng::from_str(&read(file)?).map_err(wrong)?;
    let entries = match document.get("positions") {
        Some(Yaml::Mapping(entries)) => entries.clone(),
        Some(Yaml::Null) => serde_yaml_ng::Mapping::new(),
        _ => return Err(ImportError::whole(file, "there are no `positions` in it")),
    };
    let mut positions = Positions::default();
    for (key, value) in &entries {
        // Later versions keep a path together with labels.
        let path = key.as_str().or_else(|| key.get("path").and_then(Yaml::as_str)).unwrap_or("(no text)");
        let position = value.as_u64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
        match position {
            Some(position) if path.starts_with('/') => {
                positions.kept.push(Position {
                    path: Some(path.into()),
                    device: None,
                    inode: None,
                    position,
                });
            }
            Some(_) => positions.leave(path, "it is no path of a file on this host"),
            None => {
                positions.leave(path, "it is no position in a file: journals are read from their beginning");
            }
        }
    }
    Ok(positions)
}

/// Vector's checkpoints: of one source, or of all in its folder.
fn vector(place: &Path) -> Result<Positions, ImportError> {
    let mut positions = Positions::default();
    for file in checkpoints(place)? {
        let document = read_json(&file)?;
        let version = document.get("version").and_then(Value::as_str);
        let Some(list) =
            document.get("checkpoints").and_then(Value::as_array).filter(|_| version == Some("1"))
        else {
            return Err(ImportError::whole(&file, "these are no checkpoints of the version \"1\""));
        };
        for (number, checkpoint) in list.iter().enumerate() {
            let at = format!("{}: checkpoints[{number}]", file.display());
            checkpoint_of(checkpoint, at, &mut positions);
        }
    }
    Ok(positions)
}

fn checkpoint_of(checkpoint: &Value, at: String, positions: &mut Positions) {
    let fingerprint = checkpoint.get("fingerprint");
    let identity = fingerprint.and_then(|fingerprint| fingerprint.get("dev_inode")).and_then(Value::as_array);
    let identity = identity.and_then(|pair| Some((pair.first()?.as_u64()?, pair.get(1)?.as_u64()?)));
    match (identity, checkpoint.get("position").and_then(Value::as_u64)) {
        (Some((device, inode)), Some(position)) => {
            let (device, inode) = (Some(device), Some(inode));
            positions.kept.push(Position { path: None, device, inode, position });
        }
        (None, Some(_)) => positions.leave(
            at,
            "it names its file by a checksum of the first lines, which tells neither path nor inode: with fingerprint.strategy = \
             \"device_and_inode\" Vector would have kept what can be taken over",
        ),
        (_, None) => positions.leave(at, "it has no position"),
    }
}

/// The files of checkpoints at a place.
fn checkpoints(place: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let trouble = |source: io::Error| ImportError::Io { file: place.to_owned(), source };
    if !fs::metadata(place).map_err(trouble)?.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    let own = place.join("checkpoints.json");
    if own.is_file() {
        return Ok(vec![own]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(place).map_err(trouble)? {
        let file = entry.map_err(trouble)?.path().join("checkpoints.json");
        if file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(ImportError::whole(place, "no checkpoints.json lies there"));
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
