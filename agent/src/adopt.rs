//! Goes on where another shipper has stopped: its read positions become sources of the checkpoint, before the agent starts for the
//! first time. What was shipped already is not read again.

use crate::{
    Error,
    checkpoint::{Checkpoint, Entry, FilePlace, Place},
    identity::StateFolder,
    settings::{Settings, SourceKind},
    source::file::{Content, Fingerprint, Found, Globs, MARKER, is_packed},
};
use millrace_model::SourceId;
use std::{
    collections::HashSet,
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// How far a file was read, and what is known of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPosition {
    /// Its path when it was read last.
    pub path: Option<PathBuf>,
    /// The device that it lies on.
    pub device: Option<u64>,
    /// Its number there. Where it is known, it counts, not the path.
    pub inode: Option<u64>,
    /// So many bytes were read.
    pub position: u64,
}

/// What became of read positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Files, the names of their sources, and the positions from which they are read on.
    pub files: Vec<(PathBuf, String, u64)>,
    /// Positions of files that are read from their beginning, if at all; and why.
    pub left: Vec<(ReadPosition, String)>,
}

/// Puts read positions into the checkpoint of an agent that does not run. Files that it knows already stay as they are. Blocks.
///
/// # Errors
/// The state folder cannot be used, an agent runs over it, or a glob is none.
pub fn adopt(settings: &Settings, positions: &[ReadPosition]) -> Result<Adopted, Error> {
    let mut folder = StateFolder::open(&settings.state_dir)?;
    let mut files = Vec::new();
    for source in &settings.sources {
        let SourceKind::File(file) = &source.kind else { continue };
        let globs = Globs::new(&source.name, &file.include, &file.exclude)?;
        files.extend(globs.discover().files.into_iter().map(|found| (source.name.clone(), found)));
    }
    let mut adopted = Adopted::default();
    let mut taken = HashSet::new();
    for position in positions {
        let outcome = find(&files, position).and_then(|(name, found)| {
            if !taken.insert(found.identity) {
                return Err("another position of the same file was taken over".to_owned());
            }
            let entry = entry(&folder.checkpoint, name, found, position.position)?;
            Ok((found.path.clone(), name.to_owned(), entry))
        });
        match outcome {
            Ok((path, name, entry)) => {
                adopted.files.push((path, name, entry.position));
                folder.checkpoint.sources.insert(SourceId::random(), entry);
            }
            Err(why) => adopted.left.push((position.clone(), why)),
        }
    }
    // Both generations of the checkpoint know of it.
    folder.store.store(&folder.checkpoint)?;
    folder.store.store(&folder.checkpoint)?;
    Ok(adopted)
}

/// The file that a position is of, and the name of the source that reads it.
fn find<'a>(files: &'a [(String, Found)], position: &ReadPosition) -> Result<(&'a str, &'a Found), String> {
    let is_it = |found: &Found| match position.inode {
        Some(inode) => {
            found.identity.inode == inode
                && position.device.is_none_or(|device| device == found.identity.device)
        }
        None => position.path.as_ref() == Some(&found.path),
    };
    let found = files.iter().find(|(_, found)| is_it(found));
    let (name, found) =
        found.ok_or("no source of the settings reads such a file, or it is not there any more")?;
    Ok((name, found))
}

fn entry(checkpoint: &Checkpoint, name: &str, found: &Found, position: u64) -> Result<Entry, String> {
    let known = checkpoint.sources.values().any(|entry| match &entry.place {
        Place::File(place) => place.identity == found.identity,
        _ => false,
    });
    if known {
        return Err("the agent knows it already".to_owned());
    }
    if position > found.size {
        return Err(format!("it has {} bytes, fewer than were read", found.size));
    }
    let looked = look(&found.path, position).map_err(|error| format!("it cannot be read: {error}"))?;
    let (head, marker) = looked.ok_or("it is compressed: whether it was read is not told by a position")?;
    let place = FilePlace {
        path: found.path.clone(),
        at: found.path.clone(),
        identity: found.identity,
        head,
        marker,
        size: position,
        packed: None,
    };
    let mut entry = Entry::new(name.to_owned(), Place::File(place), position);
    entry.because = Some("adopted".to_owned());
    Ok(entry)
}

/// How the file begins, and what stands before the position. `None`: it is compressed.
fn look(path: &Path, position: u64) -> io::Result<Option<(Fingerprint, Fingerprint)>> {
    let file = File::open(path)?;
    if is_packed(path, &file)? != Some(false) {
        return Ok(None);
    }
    let mut content = Content::new(file, false);
    let before = position.min(MARKER as u64);
    let mut window = vec![0; before as usize];
    content.read_exact_at(&mut window, position - before)?;
    Ok(Some((content.head(), Fingerprint::before(window.len(), &window))))
}
