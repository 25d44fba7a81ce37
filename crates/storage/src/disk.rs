//! What a local store needs beyond writing files: folders whose entries are durable, and no leftovers. All of it blocks.

use crate::Error;
use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::Path,
    time::SystemTime,
};

/// Makes a folder and those above it, durably.
pub(crate) fn create(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists()).collect();
    fs::create_dir_all(folder)?;
    for made in missing {
        sync(made.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Makes the entries of the folders between `file` and `root`, and of `root`, durable: the folder of a day may have
/// been made a moment ago by another upload that has not come to sync it yet.
pub(crate) fn sync_above(root: &Path, file: &Path) -> Result<(), Error> {
    for folder in file.ancestors().skip(1).take_while(|above| above.starts_with(root)) {
        sync(folder).map_err(|source| Error::Disk { action: "sync", path: folder.to_owned(), source })?;
    }
    Ok(())
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Deletes what a failed upload of `file` has left beside it.
pub(crate) fn remove_staged(file: &Path) -> Result<(), Error> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    for entry in entries(folder)? {
        if entry.file_name().to_str().and_then(staged_for) == Some(name) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Deletes what uploads that never came to an end (the process was killed) have left anywhere below `root`, and empty
/// folders, where neither has changed since `before`. Returns the bytes that this frees.
pub(crate) fn sweep(root: &Path, before: SystemTime) -> Result<u64, Error> {
    let mut freed = 0;
    for entry in entries(root)? {
        // What vanishes meanwhile needs no sweeping.
        let Ok(metadata) = entry.metadata() else { continue };
        let old = metadata.modified().is_ok_and(|modified| modified < before);
        let path = entry.path();
        if metadata.is_dir() {
            freed += sweep(&path, before)?;
            // Its age is from before the sweep went into it; one that is not empty stays by itself.
            if old && entries(&path)?.is_empty() {
                remove_folder(&path)?;
            }
        } else if old && entry.file_name().to_str().and_then(staged_for).is_some() {
            remove(&path)?;
            freed += metadata.len();
        }
    }
    Ok(freed)
}

/// The name for which a file is being written: `object_store` writes `<name>#<digits>` and renames it.
fn staged_for(name: &str) -> Option<&str> {
    let (name, number) = name.rsplit_once('#')?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, Error> {
    match fs::read_dir(folder).and_then(Iterator::collect) {
        Ok(entries) => Ok(entries),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(Error::Disk { action: "list", path: folder.to_owned(), source }),
    }
}

fn remove(file: &Path) -> Result<(), Error> {
    gone(file, fs::remove_file(file), &[ErrorKind::NotFound])
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    gone(folder, fs::remove_dir(folder), &[ErrorKind::NotFound, ErrorKind::DirectoryNotEmpty])
}

fn gone(path: &Path, outcome: io::Result<()>, fine: &[ErrorKind]) -> Result<(), Error> {
    match outcome {
        Err(source) if !fine.contains(&source.kind()) => {
            Err(Error::Disk { action: "delete", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
