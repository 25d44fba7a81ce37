//! What the globs of a source name, for whoever asks whether it can be read: nothing is begun.

use super::Globs;
use crate::{Error, settings::FileSettings};
use std::{fs::File, io, path::PathBuf};

/// See [`named`].
#[derive(Debug, Default)]
pub struct Named {
    /// How many files there are.
    pub files: usize,
    /// In how many folders they may appear: each wants a watch of inotify.
    pub folders: usize,
    /// Files and folders that cannot be opened by this user, and why.
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

/// Looks what the globs of the source of this name would read now, and opens each file. Blocks.
///
/// # Errors
/// A glob is none.
pub fn named(source: &str, settings: &FileSettings) -> Result<Named, Error> {
    let found = Globs::new(source, &settings.include, &settings.exclude)?.discover();
    let mut unreadable = found.failures;
    for file in &found.files {
        match File::open(&file.path) {
            Ok(_) => {}
            // It has gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => unreadable.push((file.path.clone(), error)),
        }
    }
    Ok(Named { files: found.files.len(), folders: found.folders.len(), unreadable })
}
