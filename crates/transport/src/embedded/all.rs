//! Everything that lies in the files of embedded topics, read without opening one: for proving what is there and what is
//! not. A topic that is in use may be read too; what it is just appending may then look damaged.

use super::{
    block,
    log::file_error,
    segment::{Segment, Step, Walker},
};
use crate::{Error, Message};
use millrace_model::Partition;
use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// How many bytes of a damaged stretch are given at once.
const STRETCH: u64 = 1 << 20;

/// Something in the file of a topic.
#[derive(Debug)]
pub enum Stored<'a> {
    /// A message, which readers see or have seen.
    Message(&'a Message),
    /// Bytes that are no whole message: damaged, or torn off by a crash.
    Bytes {
        /// Where in the file they begin.
        from: u64,
        /// They.
        bytes: &'a [u8],
    },
}

/// Gives everything in the segment files of all topics in `directory` (dead letters are a topic of their own), by topic,
/// partition and offset: each with the topic's name, the file, and what it is. Blocking.
///
/// # Errors
/// A folder or file cannot be read; what `visit` returns.
pub fn read_stored<E: From<Error>>(
    directory: &Path,
    mut visit: impl FnMut(&str, &Path, Partition, Stored<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for topic in folders(directory)? {
        let name = topic.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut partitions: Vec<(i32, PathBuf)> = folders(&topic)?
            .into_iter()
            .filter_map(|folder| Some((folder.file_name()?.to_str()?.parse().ok()?, folder)))
            .collect();
        partitions.sort_unstable();
        for (partition, folder) in partitions {
            for file in files(&folder)? {
                read_file(&file, Partition(partition), |stored| {
                    visit(&name, &file, Partition(partition), stored)
                })?;
            }
        }
    }
    Ok(())
}

/// The first offset that a topic of this name still has, of each of its partitions, by what its files are called; nothing
/// where there is no such topic.
///
/// # Errors
/// A folder cannot be read.
pub fn earliest_stored(directory: &Path, topic: &str) -> Result<Vec<(Partition, i64)>, Error> {
    let mut earliest = Vec::new();
    for folder in folders(&directory.join(topic))? {
        let Some(partition) = folder.file_name().and_then(|name| name.to_str()?.parse().ok()) else {
            continue;
        };
        let bases = files(&folder)?.into_iter().filter_map(|file| Segment::base_of(&file));
        earliest.push((Partition(partition), bases.min().unwrap_or(0)));
    }
    earliest.sort_unstable();
    Ok(earliest)
}

fn read_file<E: From<Error>>(
    path: &Path,
    partition: Partition,
    mut visit: impl FnMut(Stored<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let size = fs::metadata(path).map_err(file_error(path, "read its size"))?.len();
    let mut walker = Walker::whole(path)?;
    let mut damaged: Option<u64> = None;
    loop {
        let step = walker.step(size, true).map_err(file_error(path, "read it"))?;
        let (at, messages, end) = match step {
            Step::Damaged { from } => {
                damaged.get_or_insert(from);
                continue;
            }
            Step::Block { header, position, payload } => {
                let Ok(messages) = block::decode(&header, &payload, partition) else {
                    damaged.get_or_insert(position);
                    continue;
                };
                (position, messages, false)
            }
            Step::End => (size, Vec::new(), true),
        };
        if let Some(from) = damaged.take() {
            give_bytes(path, from, at, &mut visit)?;
        }
        for message in &messages {
            visit(Stored::Message(message))?;
        }
        if end {
            return Ok(());
        }
    }
}

fn give_bytes<E: From<Error>>(
    path: &Path,
    mut from: u64,
    to: u64,
    mut visit: impl FnMut(Stored<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let file = fs::File::open(path).map_err(file_error(path, "open it"))?;
    while from < to {
        let mut bytes = vec![0; (to - from).min(STRETCH) as usize];
        file.read_exact_at(&mut bytes, from).map_err(file_error(path, "read it"))?;
        visit(Stored::Bytes { from, bytes: &bytes })?;
        from += bytes.len() as u64;
    }
    Ok(())
}

fn folders(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(entries(directory)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_log = |path: &PathBuf| path.is_file() && path.extension().is_some_and(|ending| ending == "log");
    Ok(entries(directory)?.into_iter().filter(is_log).collect())
}

/// What lies in a folder, by name; nothing where there is none.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let failed = file_error(directory, "list it");
    let listed = fs::read_dir(directory).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
    });
    let mut paths = listed.map_err(failed)?;
    paths.sort_unstable();
    Ok(paths)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use bytes::Bytes;
    use millrace_model::{Timestamp, wire::Payload};

    fn block_of(first: i64, values: &[&'static str]) -> Vec<u8> {
        let payload = |value: &&'static str| Payload {
            key: Bytes::new(),
            headers: vec![("h".to_owned(), Bytes::from_static(b"x"))],
            value: Bytes::from_static(value.as_bytes()),
        };
        let payloads: Vec<Payload> = values.iter().map(payload).collect();
        block::encode(first, Timestamp::from_millis(5), payloads.iter()).unwrap().1
    }

    #[test]
    fn messages_and_what_is_none_are_given() {
        let folder = tempfile::tempdir().unwrap();
        let partition = folder.path().join("logs").join("0");
        fs::create_dir_all(&partition).unwrap();
        fs::create_dir_all(folder.path().join("logs.dead").join("0")).unwrap();
        fs::write(
            folder.path().join("logs.dead").join("0").join(Segment::file_name(3)),
            block_of(3, &["dead"]),
        )
        .unwrap();
        let mut bad = block_of(2, &["changed"]);
        *bad.last_mut().unwrap() ^= 1;
        let torn = &block_of(4, &["torn"])[..20];
        let file = [block_of(0, &["a", "b"]).as_slice(), &bad, b"noise", &block_of(3, &["c"]), torn].concat();
        fs::write(partition.join(Segment::file_name(0)), &file).unwrap();

        let (mut messages, mut rest) = (Vec::new(), Vec::new());
        read_stored(folder.path(), |topic, _, _, stored| {
            match stored {
                Stored::Message(message) => {
                    messages.push(format!("{topic} {} {:?}", message.offset, message.value));
                }
                Stored::Bytes { bytes, .. } => rest.push(bytes.to_vec()),
            }
            Ok::<_, Error>(())
        })
        .unwrap();
        assert_eq!(messages, ["logs 0 b\"a\"", "logs 1 b\"b\"", "logs 3 b\"c\"", "logs.dead 3 b\"dead\""]);
        assert_eq!(rest, [[bad.as_slice(), b"noise"].concat(), torn.to_vec()]);
        assert_eq!(earliest_stored(folder.path(), "logs").unwrap(), [(Partition(0), 0)]);
        assert_eq!(earliest_stored(folder.path(), "logs.dead").unwrap(), [(Partition(0), 3)]);
        assert_eq!(earliest_stored(folder.path(), "none").unwrap(), []);
    }
}
