//! Copies of bundles on the local disk, so many bytes of them: when there are more, the one that was used longest ago
//! goes. Anything here may go at any time, and nothing depends on the disk's having room: what cannot be kept is fetched
//! again.
//!
//! A copy that is whole outlives the process: it has been synced before it got its name. Others are removed at the start.

pub(crate) mod blocks;
pub(crate) mod copy;

use crate::{Error, Metrics, disk};
use copy::{Errand, LocalCopy, remove};
use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Held by the process whose folder it is.
const LOCK: &str = "lock";

/// See the module.
#[derive(Debug)]
pub(crate) struct Cache {
    pub(crate) folder: PathBuf,
    bound: u64,
    shelf: Mutex<Shelf>,
    uses: AtomicU64,
    partials: AtomicU64,
    /// Could the last copy not be written? That is said once.
    ailing: AtomicBool,
    metrics: Metrics,
    _lock: File,
}

#[derive(Debug, Default)]
struct Shelf {
    copies: HashMap<String, Slot>,
    bytes: u64,
}

#[derive(Debug)]
struct Slot {
    copy: Arc<LocalCopy>,
    readers: usize,
    /// Bytes of it on disk, or about to be.
    kept: u64,
    /// The copy's own, in which these bytes are counted.
    life: u64,
}

impl Cache {
    /// Opens the folder, which is this process's alone as long as the cache lives, and looks what is in it. Blocks.
    pub(crate) fn open(folder: &Path, bound: u64, metrics: Metrics) -> Result<Self, Error> {
        let failed = |action, source| Error::Disk { action, path: folder.to_owned(), source };
        disk::create(folder).map_err(|source| failed("make", source))?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK));
        let lock = lock.map_err(|source| failed("write to", source))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                failed("use", io::Error::other("another process keeps its copies of bundles there"))
            }
            TryLockError::Error(source) => failed("lock", source),
        })?;
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(|source| failed("list", source))? {
            let entry = entry.map_err(|source| failed("list", source))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_partial(&name) {
                remove(&entry.path());
            } else if is_name(&name) {
                let metadata = entry.metadata().map_err(|source| failed("look into", source))?;
                found.push((metadata.modified().ok(), name, metadata.len(), entry.path()));
            }
        }
        found.sort_unstable();
        let cache = Self {
            folder: folder.to_owned(),
            bound,
            shelf: Mutex::default(),
            uses: AtomicU64::new(0),
            partials: AtomicU64::new(0),
            ailing: AtomicBool::new(false),
            metrics,
            _lock: lock,
        };
        for (_, name, size, path) in found {
            let copy = Arc::new(LocalCopy::whole(name.clone(), size, path));
            cache.touch(&copy);
            let mut shelf = cache.lock();
            shelf.bytes += size;
            shelf.copies.insert(name, Slot { copy, readers: 0, kept: size, life: 0 });
        }
        let mut shelf = cache.lock();
        cache.make_room(&mut shelf, 0, None);
        drop(shelf);
        Ok(cache)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a use of a copy.
    pub(crate) fn touch(&self, copy: &LocalCopy) {
        copy.touch(self.uses.fetch_add(1, Ordering::Relaxed));
    }

    /// The copy of that name, to be read until [`Self::leave`]. What was there of another size is of another bundle.
    pub(crate) fn enter(&self, name: &str, size: u64) -> Arc<LocalCopy> {
        let mut shelf = self.lock();
        let shelf = &mut *shelf;
        if let Entry::Occupied(slot) = shelf.copies.entry(name.to_owned())
            && slot.get().copy.size != size
        {
            let slot = slot.remove();
            shelf.bytes -= slot.kept;
            slot.copy.clear();
        }
        let slot = shelf.copies.entry(name.to_owned()).or_insert_with(|| {
            let copy = Arc::new(LocalCopy::nothing(name.to_owned(), size));
            Slot { copy, readers: 0, kept: 0, life: 0 }
        });
        slot.readers += 1;
        self.touch(&slot.copy);
        Arc::clone(&slot.copy)
    }

    /// A reader is done.
    pub(crate) fn leave(&self, copy: &Arc<LocalCopy>) {
        let mut shelf = self.lock();
        let Entry::Occupied(mut slot) = shelf.copies.entry(copy.name.clone()) else { return };
        if !Arc::ptr_eq(&slot.get().copy, copy) {
            return;
        }
        slot.get_mut().readers -= 1;
        if slot.get().readers == 0 {
            copy.close();
            if slot.get().kept == 0 {
                slot.remove();
            }
        }
    }

    /// Nothing is left of that copy: its bundle was deleted, is another now, or the file is not right. Whoever reads it
    /// fetches from then on. Was there anything?
    pub(crate) fn forget(&self, name: &str) -> bool {
        let mut shelf = self.lock();
        let Some(slot) = shelf.copies.remove(name) else { return false };
        shelf.bytes -= slot.kept;
        slot.copy.clear();
        self.metrics.cache_bytes.set(shelf.bytes as i64);
        slot.kept > 0
    }

    /// Nothing is left of any copy but those of these names; returns of how many there was something.
    pub(crate) fn keep_only(&self, names: &HashSet<String>) -> usize {
        let others: Vec<String> =
            self.lock().copies.keys().filter(|name| !names.contains(*name)).cloned().collect();
        others.iter().filter(|name| self.forget(name)).count()
    }

    /// Takes a file that was stored under that name for its copy, by a link, if that can be done. Blocks.
    pub(crate) fn adopt(&self, name: &str, file: &Path, size: u64) {
        let path = self.folder.join(name);
        if size > self.bound {
            return;
        }
        if let Err(error) = fs::hard_link(file, &path) {
            tracing::debug!(file = %file.display(), %error, "a stored bundle is not kept as a copy");
            return;
        }
        let mut shelf = self.lock();
        self.make_room(&mut shelf, size, None);
        let copy = Arc::new(LocalCopy::whole(name.to_owned(), size, path));
        self.touch(&copy);
        let slot = Slot { copy, readers: 0, kept: size, life: 0 };
        if let Some(old) = shelf.copies.insert(name.to_owned(), slot) {
            // Another reader came between: its file has a name of its own, or is this very one.
            shelf.bytes -= old.kept;
        }
        shelf.bytes += size;
        self.metrics.cache_bytes.set(shelf.bytes as i64);
    }

    /// Keeps blocks that have come. `None`: there is no room or no way to. `Some(true)`: the copy is whole with them.
    pub(crate) fn keep(
        &self,
        copy: &Arc<LocalCopy>,
        errand: &Errand<'_>,
        run: &Range<usize>,
        bytes: &[u8],
    ) -> Option<bool> {
        let partial = format!("{}#{}", copy.name, self.partials.fetch_add(1, Ordering::Relaxed));
        let partial = self.folder.join(partial);
        let length = errand.length(run);
        if !self.reserve(copy, errand.life(), length) {
            return None;
        }
        let mut kept = errand.keep(run, bytes, &partial);
        if kept
            .as_ref()
            .is_err_and(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
            && self.give_way(copy, length)
        {
            kept = errand.keep(run, bytes, &partial);
        }
        match kept {
            Ok(whole) => {
                self.ailing.store(false, Ordering::Relaxed);
                whole
            }
            Err(error) => {
                if !self.ailing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(folder = %self.folder.display(), %error, "copies of bundles cannot be kept; they are fetched each time");
                }
                self.release(copy, errand.life(), length);
                None
            }
        }
    }

    /// Counts bytes that are about to be written, and has others go for them.
    fn reserve(&self, copy: &Arc<LocalCopy>, life: u64, bytes: u64) -> bool {
        let mut shelf = self.lock();
        if copy.size > self.bound || !shelf.is_current(copy, life) {
            return false;
        }
        self.make_room(&mut shelf, bytes, Some(copy));
        shelf.count(copy, |kept| kept + bytes);
        self.metrics.cache_bytes.set(shelf.bytes as i64);
        true
    }

    fn release(&self, copy: &Arc<LocalCopy>, life: u64, bytes: u64) {
        let mut shelf = self.lock();
        if shelf.is_current(copy, life) {
            shelf.count(copy, |kept| kept.saturating_sub(bytes));
            self.metrics.cache_bytes.set(shelf.bytes as i64);
        }
    }

    /// The disk is full before the bound is reached: others go, as many bytes as are wanted. Has that freed any?
    fn give_way(&self, copy: &Arc<LocalCopy>, bytes: u64) -> bool {
        let mut shelf = self.lock();
        let before = shelf.bytes;
        while before - shelf.bytes < bytes && self.evict(&mut shelf, Some(copy)) {}
        shelf.bytes < before
    }

    fn make_room(&self, shelf: &mut Shelf, bytes: u64, but: Option<&Arc<LocalCopy>>) {
        while shelf.bytes + bytes > self.bound && self.evict(shelf, but) {}
        self.metrics.cache_bytes.set(shelf.bytes as i64);
    }

    /// The copy that was used longest ago goes, if there is any but that one.
    fn evict(&self, shelf: &mut Shelf, but: Option<&Arc<LocalCopy>>) -> bool {
        let others = shelf
            .copies
            .values_mut()
            .filter(|slot| slot.kept > 0 && but.is_none_or(|but| !Arc::ptr_eq(but, &slot.copy)));
        let Some(slot) = others.min_by_key(|slot| slot.copy.used.load(Ordering::Relaxed)) else {
            return false;
        };
        slot.life = slot.copy.clear();
        let (kept, name) = (std::mem::take(&mut slot.kept), slot.copy.name.clone());
        if slot.readers == 0 {
            shelf.copies.remove(&name);
        }
        shelf.bytes -= kept;
        self.metrics.evictions.inc();
        true
    }
}

impl Shelf {
    fn is_current(&self, copy: &Arc<LocalCopy>, life: u64) -> bool {
        self.copies.get(&copy.name).is_some_and(|slot| Arc::ptr_eq(&slot.copy, copy) && slot.life == life)
    }

    fn count(&mut self, copy: &Arc<LocalCopy>, change: impl FnOnce(u64) -> u64) {
        if let Some(slot) = self.copies.get_mut(&copy.name) {
            let before = slot.kept;
            slot.kept = change(before);
            self.bytes = self.bytes - before + slot.kept;
        }
    }
}

/// The name of the copy of what lies under a key at a place: another place's is another one.
pub(crate) fn name_of(place: &str, key: &str) -> String {
    let digest = openssl::sha::sha256(format!("{place}\n{key}").as_bytes());
    let half = digest.first_chunk().copied().map_or(0, u128::from_be_bytes);
    format!("{half:032x}")
}

fn is_name(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_partial(name: &str) -> bool {
    name.split_once('#').is_some_and(|(name, number)| {
        is_name(name) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}
