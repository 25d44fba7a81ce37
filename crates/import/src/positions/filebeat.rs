//! Filebeat's registry: a checkpoint of all states, and a log of what changed since. Before version 7 it was one file.

use super::{Position, Positions, read, read_json};
use crate::ImportError;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The states by their keys.
type States = BTreeMap<String, Value>;

/// Reads it.
pub(super) fn positions(registry: &Path) -> Result<Positions, ImportError> {
    let mut positions = Positions::default();
    let metadata =
        fs::metadata(registry).map_err(|source| ImportError::Io { file: registry.to_owned(), source })?;
    let folder = if metadata.is_dir() {
        [registry.join("filebeat"), registry.to_owned()]
            .into_iter()
            .find(|folder| folder.join("log.json").exists())
    } else if registry.file_name().is_some_and(|name| name == "log.json") {
        registry.parent().map(Path::to_owned)
    } else {
        of_old(&read_json(registry)?, registry, &mut positions)?;
        return Ok(positions);
    };
    let old = registry.join("filebeat/data.json");
    let Some(folder) = folder else {
        if !old.is_file() {
            return Err(ImportError::whole(registry, "no log.json of Filebeat's registry lies there"));
        }
        of_old(&read_json(&old)?, &old, &mut positions)?;
        return Ok(positions);
    };
    let mut states = States::new();
    let last = match checkpoint(&folder) {
        Some((file, number)) => {
            load(&read_json(&file)?, &file, &mut states)?;
            number
        }
        None => 0,
    };
    replay(&folder.join("log.json"), last, &mut states, &mut positions)?;
    for (key, value) in &states {
        state(key, value, &mut positions);
    }
    Ok(positions)
}

/// The newest checkpoint and the number of its last operation: the one that `active.dat` names, or the one with the largest number.
fn checkpoint(folder: &Path) -> Option<(PathBuf, u64)> {
    let number = |file: &Path| -> Option<u64> {
        let is_json = file.extension().is_some_and(|ending| ending == "json");
        is_json.then(|| file.file_stem()?.to_str()?.parse().ok()).flatten()
    };
    let active = fs::read_to_string(folder.join("active.dat")).ok();
    // It holds a whole path; the folder may be a copy, so the name alone counts.
    let active = active.and_then(|text| text.trim().rsplit(['/', '\\']).next().map(|name| folder.join(name)));
    if let Some((file, number)) = active.and_then(|file| Some((file.clone(), number(&file)?)))
        && file.is_file()
    {
        return Some((file, number));
    }
    let files = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter_map(|file| Some((number(&file)?, file))).max().map(|(number, file)| (file, number))
}

/// A checkpoint: a list of states, each with its key.
fn load(document: &Value, file: &Path, states: &mut States) -> Result<(), ImportError> {
    let list =
        document.as_array().ok_or_else(|| ImportError::whole(file, "a list of states was expected"))?;
    for value in list {
        let key = value.get("_key").and_then(Value::as_str);
        let key = key.ok_or_else(|| ImportError::whole(file, "a state without its _key"))?;
        states.insert(key.to_owned(), value.clone());
    }
    Ok(())
}

/// What changed since: lines of an operation and of what it is about, in turn.
fn replay(file: &Path, last: u64, states: &mut States, positions: &mut Positions) -> Result<(), ImportError> {
    let text = read(file)?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    while let Some((number, line)) = lines.next() {
        let operation = serde_json::from_str::<Value>(line).ok();
        let data = lines.next().and_then(|(_, line)| serde_json::from_str::<Value>(line).ok());
        let (Some(operation), Some(data)) = (operation, data) else {
            // So does Filebeat itself after a crash.
            let at = format!("{}:{}", file.display(), number + 1);
            positions.leave(at, "the log is broken here: what follows is not read");
            return Ok(());
        };
        if operation.get("id").and_then(Value::as_u64).is_some_and(|id| id <= last) {
            continue;
        }
        let Some(key) = data.get("k").and_then(Value::as_str) else { continue };
        match operation.get("op").and_then(Value::as_str) {
            Some("set") => drop(states.insert(key.to_owned(), data.get("v").cloned().unwrap_or_default())),
            Some("remove") => drop(states.remove(key)),
            other => {
                positions.leave(key, format!("the operation {:?} is not known", other.unwrap_or_default()));
            }
        }
    }
    Ok(())
}

/// A state: of an input of type log by itself, of filestream with cursor and meta.
fn state(key: &str, value: &Value, positions: &mut Positions) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(PathBuf::from);
    if let Some(position) = value.get("offset").and_then(Value::as_u64) {
        let path = text(value.get("source"));
        let (inode, device) = identity_of(value);
        add(key, Position { path, device, inode, position }, positions);
        return;
    }
    let Some(meta) = value.get("meta").filter(|_| key.starts_with("filestream::")) else {
        positions.leave(key, "it is no state of a file: only positions in files are taken over");
        return;
    };
    let path = text(meta.get("source"));
    let (inode, device) = key.split_once("::native::").map(|(_, id)| native(id)).unwrap_or_default();
    match value.get("cursor").and_then(|cursor| cursor.get("offset")).and_then(Value::as_u64) {
        Some(position) => add(key, Position { path, device, inode, position }, positions),
        // Nothing of it was read.
        None if value.get("cursor").is_some_and(|cursor| !cursor.is_null()) => {
            positions.leave(key, "its cursor has no offset");
        }
        None => {}
    }
}

fn add(key: &str, position: Position, positions: &mut Positions) {
    if position.path.is_none() && position.inode.is_none() {
        positions.leave(key, "it tells neither the path of its file nor its inode");
    } else {
        positions.kept.push(position);
    }
}

fn identity_of(value: &Value) -> (Option<u64>, Option<u64>) {
    let number = |key: &str| {
        let found = value.get("FileStateOS").and_then(|state| state.get(key)).and_then(Value::as_u64);
        found.filter(|number| *number > 0)
    };
    (number("inode"), number("device"))
}

/// `INODE-DEVICE`, and perhaps more behind it.
fn native(id: &str) -> (Option<u64>, Option<u64>) {
    let mut parts = id.split('-').map(|part| part.parse().ok());
    (parts.next().flatten(), parts.next().flatten())
}

/// The file of versions before 7, and of 7.0 to 7.8: a list of states.
fn of_old(document: &Value, file: &Path, positions: &mut Positions) -> Result<(), ImportError> {
    let list = document.as_array();
    let list =
        list.ok_or_else(|| ImportError::whole(file, "this is no registry of Filebeat: a list was expected"))?;
    for (number, value) in list.iter().enumerate() {
        state(&format!("{}: [{number}]", file.display()), value, positions);
    }
    Ok(())
}
