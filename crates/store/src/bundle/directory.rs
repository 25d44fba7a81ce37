//! A bundle as the index library sees it: a folder that cannot be written.

use super::{BLOCK, Bundle};
use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tantivy::{
    Directory, HasLen,
    directory::{
        DirectoryLock, FileHandle, Lock, OwnedBytes, WatchCallback, WatchHandle, WritePtr,
        error::{DeleteError, LockError, OpenReadError, OpenWriteError},
    },
};

/// The files of a bundle, to be read.
#[derive(Debug, Clone)]
pub(crate) struct BundleDirectory(pub(crate) Arc<Bundle>);

impl BundleDirectory {
    fn part(&self, path: &Path) -> Result<Part, OpenReadError> {
        let range = path.to_str().and_then(|name| self.0.place(name));
        let range = range.ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))?;
        Ok(Part { bundle: Arc::clone(&self.0), range, recent: Mutex::new(None) })
    }
}

/// One file of a bundle. Small reads lie close together (posting lists of neighbouring terms), so the blocks of the
/// last one are kept.
struct Part {
    bundle: Arc<Bundle>,
    range: Range<u64>,
    recent: Mutex<Option<(u64, OwnedBytes)>>,
}

impl Part {
    fn recent(&self, wanted: &Range<u64>) -> Option<OwnedBytes> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, bytes) = recent.as_ref()?;
        let inside = *start <= wanted.start && wanted.end <= start + bytes.len() as u64;
        inside.then(|| bytes.slice((wanted.start - start) as usize..(wanted.end - start) as usize))
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.range, self.bundle.path().display())
    }
}

impl HasLen for Part {
    fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }
}

impl FileHandle for Part {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        let wanted = self.range.start + range.start as u64..self.range.start + range.end as u64;
        if wanted.end > self.range.end {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a read past the end of a file in the bundle",
            ));
        }
        if let Some(bytes) = self.recent(&wanted) {
            return Ok(bytes);
        }
        let (start, blocks) = self.bundle.blocks(&wanted)?;
        let blocks = OwnedBytes::new(blocks);
        let bytes = blocks.slice((wanted.start - start) as usize..(wanted.end - start) as usize);
        if range.len() <= BLOCK {
            *self.recent.lock().unwrap_or_else(PoisonError::into_inner) = Some((start, blocks));
        }
        Ok(bytes)
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "a sealed shard does not change")
}

impl Directory for BundleDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.part(path).map(|part| Arc::new(part) as Arc<dyn FileHandle>)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError { io_error: Arc::new(read_only()), filepath: path.to_owned() })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.part(path).is_ok())
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::IoError { io_error: Arc::new(read_only()), filepath: PathBuf::from(path) })
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let part = self.part(path)?;
        self.0.read(part.range).map_err(|e| OpenReadError::wrap_io_error(e, path.to_owned()))
    }

    fn atomic_write(&self, _path: &Path, _data: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, _lock: &Lock) -> Result<DirectoryLock, LockError> {
        // What does not change needs no lock.
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}
