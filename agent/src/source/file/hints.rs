//! What the kernel says has changed. Only a hint: it may come late, twice or never; walking the folders is the truth.

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::ModifyKind};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// With more changed paths than this, walking everything is cheaper.
const MAX_PATHS: usize = 4096;
/// No more folders than this are watched; the others are only walked.
const MAX_FOLDERS: usize = 8192;

/// What has changed since the last look.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Files that were written to.
    pub(crate) written: HashSet<PathBuf>,
    /// Names that appeared or went.
    pub(crate) named: HashSet<PathBuf>,
    /// Too much to tell: walk everything.
    pub(crate) everything: bool,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.written.is_empty() && self.named.is_empty() && !self.everything
    }
}

#[derive(Debug, Default)]
struct Shared {
    changes: Mutex<Changes>,
    bell: Condvar,
}

/// The watched folders.
pub(crate) struct Hints {
    shared: Arc<Shared>,
    /// `None` where the kernel gives none.
    watcher: Option<RecommendedWatcher>,
    /// Each with the device and inode that is watched, for a folder may be made anew.
    watched: HashMap<PathBuf, (u64, u64)>,
    /// The limit was reached, and that was said.
    limited: bool,
}

impl Hints {
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let ringer = Arc::clone(&shared);
        let watcher = notify::recommended_watcher(move |event| ringer.note(event));
        let watcher = watcher
            .inspect_err(
                |error| tracing::warn!(%error, "no change notification: files are only looked at in turn"),
            )
            .ok();
        Self { shared, watcher, watched: HashMap::new(), limited: false }
    }

    /// Watches these folders, and no others.
    pub(crate) fn watch(&mut self, folders: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        self.watched.retain(|folder, _| {
            let wanted = folders.contains(folder);
            if !wanted {
                forget(watcher, folder);
            }
            wanted
        });
        for folder in folders {
            let Ok(metadata) = fs::metadata(folder) else { continue };
            let identity = (metadata.dev(), metadata.ino());
            match self.watched.get(folder) {
                Some(watched) if *watched == identity => continue,
                Some(_) => forget(watcher, folder),
                None if self.watched.len() >= MAX_FOLDERS => {
                    limit(&mut self.limited, "too many folders");
                    break;
                }
                None => {}
            }
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder.clone(), identity);
                }
                Err(error) => limit(&mut self.limited, &error.to_string()),
            }
        }
    }

    /// Waits until something changes, `within` at most. Blocks.
    pub(crate) fn wait(&self, within: Duration) -> Changes {
        let changes = self.shared.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.shared.bell.wait_timeout_while(changes, within, |changes| changes.is_empty());
        std::mem::take(&mut *wait.unwrap_or_else(PoisonError::into_inner).0)
    }
}

fn forget(watcher: &mut RecommendedWatcher, folder: &Path) {
    if let Err(error) = watcher.unwatch(folder) {
        tracing::debug!(%error, folder = %folder.display(), "the watch was gone already");
    }
}

fn limit(said: &mut bool, reason: &str) {
    if !*said {
        tracing::warn!(reason, "not all folders can be watched: their files are only looked at in turn");
        *said = true;
    }
}

impl Shared {
    fn note(&self, event: notify::Result<notify::Event>) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(event) if event.need_rescan() => changes.everything = true,
            Ok(event) => match event.kind {
                EventKind::Access(_) => return,
                EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => {
                    changes.written.extend(event.paths);
                }
                _ => changes.named.extend(event.paths),
            },
            Err(_) => changes.everything = true,
        }
        if changes.written.len() + changes.named.len() > MAX_PATHS {
            *changes = Changes { everything: true, ..Changes::default() };
        }
        self.bell.notify_all();
    }
}
