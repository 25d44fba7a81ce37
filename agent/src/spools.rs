//! The spools of an agent's pushed sources: opened together at the start, looked after while it runs, closed at its end. What
//! comes into them is the listeners' matter, what goes out is `source::spool`'s.

use crate::{
    Error,
    checkpoint::Checkpoint,
    metrics::{Metrics, Pushed, SourceName},
    settings::{SourceSettings, SpoolSettings},
    status::Status,
};
use millrace_config::{MinFree, Space, Watermark};
use millrace_intake::spool::{Handle, Opened, Spool};
use millrace_model::SpoolId;
use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often spools are looked after.
const LOOK: Duration = Duration::from_millis(100);

/// How far spools are delivered, in both generations of the checkpoint. Written by the shipper, read by whoever removes what need
/// not be kept. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delivered(Arc<Mutex<HashMap<SpoolId, Covered>>>);

#[derive(Debug, Default)]
struct Covered {
    /// By the generation before the latest.
    before: u64,
    latest: u64,
}

impl Delivered {
    /// Both generations cover this much at the start.
    pub(crate) fn of_checkpoint(checkpoint: &Checkpoint) -> Self {
        let covered = |position| Covered { before: position, latest: position };
        let spools = checkpoint.spools().map(|(spool, position)| (spool, covered(position)));
        Self(Arc::new(Mutex::new(spools.collect())))
    }

    /// A generation that covers this much is durable. Says whether the one before it covers less.
    pub(crate) fn written(&self, positions: &[(SpoolId, u64)]) -> bool {
        let mut spools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut behind = false;
        for (spool, position) in positions {
            let covered = spools.entry(*spool).or_default();
            covered.before = std::mem::replace(&mut covered.latest, *position);
            behind |= covered.before < covered.latest;
        }
        behind
    }

    /// Everything before is delivered.
    fn latest(&self, spool: SpoolId) -> u64 {
        let spools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spools.get(&spool).map_or(0, |covered| covered.latest)
    }

    /// Everything before need not be kept.
    fn of(&self, spool: SpoolId) -> u64 {
        let spools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spools.get(&spool).map_or(0, |covered| covered.before.min(covered.latest))
    }
}

/// One source's spool.
pub(crate) struct SourceSpool {
    pub(crate) handle: Handle,
    pub(crate) opened: Opened,
    /// Dropped first: it waits for the write under way.
    _spool: Spool,
    /// The state folder's.
    _lock: Arc<File>,
}

/// All of them, by the names of their sources.
#[derive(Default)]
pub(crate) struct Spools(HashMap<String, SourceSpool>);

impl Spools {
    /// Opens those of all sources that are pushed. Blocks on the disk.
    pub(crate) fn open(
        state_dir: &Path,
        sources: &[SourceSettings],
        checkpoint: &Checkpoint,
        lock: &Arc<File>,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let mut spools = HashMap::new();
        for source in sources {
            let Some(settings) = source.kind.spool() else { continue };
            let folder = folder(state_dir, &source.name);
            let delivered =
                |id| checkpoint.spools().filter(|(spool, _)| *spool == id).map(|(_, at)| at).max();
            let (spool, opened) = Spool::open(&folder, settings.bounds, |id| delivered(id).unwrap_or(0))
                .map_err(|error| Error::Spool { name: source.name.clone(), source: error })?;
            tell(&source.name, &folder, &opened, metrics);
            let handle = spool.handle();
            let spool = SourceSpool { handle, opened, _spool: spool, _lock: Arc::clone(lock) };
            spools.insert(source.name.clone(), spool);
        }
        Ok(Self(spools))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&SourceSpool> {
        self.0.get(name)
    }

    /// Starts the thread that looks after them until `stop`; `None`: there are none.
    pub(crate) fn look_after(
        &self,
        settings: &[SourceSettings],
        delivered: &Delivered,
        metrics: &Metrics,
        status: &Status,
        stop: &CancellationToken,
    ) -> Result<Option<JoinHandle<()>>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let kept = settings.iter().filter_map(|source| {
            let (spool, SpoolSettings { min_free, .. }) = (self.get(&source.name)?, source.kind.spool()?);
            Some(Kept::new(&source.name, source.kind.name(), spool, *min_free))
        });
        let mut kept: Vec<Kept> = kept.collect();
        let (delivered, metrics, status, stop) =
            (delivered.clone(), metrics.clone(), status.clone(), stop.clone());
        let thread = thread::Builder::new().name("spools".to_owned()).spawn(move || {
            while !stop.is_cancelled() {
                for spool in &mut kept {
                    spool.look(&delivered, &metrics, &status);
                }
                thread::sleep(LOOK);
            }
        });
        thread.map(Some).map_err(|source| Error::Thread { name: "spools".to_owned(), source })
    }
}

/// The folder of a source's spool. Names of sources are anybody's choice: what is not plain in one is written in hexadecimal digits.
fn folder(state_dir: &Path, name: &str) -> PathBuf {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let safe = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") };
    state_dir.join("spool").join(name.bytes().map(safe).collect::<String>())
}

/// What was found at the start and is not as it should be.
fn tell(name: &str, folder: &Path, opened: &Opened, metrics: &Metrics) {
    let Opened { cut_bytes, put_aside, last, .. } = opened;
    if *cut_bytes > 0 {
        metrics.spool_cut_bytes.inc_by(*cut_bytes);
        let path = folder.join(last);
        tracing::warn!(
            source = name,
            path = %path.display(),
            cut_bytes,
            "the spool's end is no whole record and is cut off: torn by a crash, then it had not been acknowledged; or damaged since"
        );
    }
    for (path, aside) in put_aside {
        metrics.spool_damage.inc();
        tracing::error!(source = name, path = %path.display(), aside = %aside.display(), "nothing of the spool can be read: it begins anew, the file lies aside");
    }
}

/// A spool that is looked after.
struct Kept {
    name: String,
    kind: &'static str,
    id: SpoolId,
    handle: Handle,
    folder: PathBuf,
    watermark: Watermark,
    /// What was said of it last, so that it is said once.
    trouble: Option<String>,
}

impl Kept {
    fn new(name: &str, kind: &'static str, spool: &SourceSpool, min_free: MinFree) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            id: spool.opened.id,
            handle: spool.handle.clone(),
            folder: spool.handle.folder().to_owned(),
            watermark: Watermark::new(min_free),
            trouble: None,
        }
    }

    fn look(&mut self, delivered: &Delivered, metrics: &Metrics, status: &Status) {
        if let Err(error) = self.handle.remove_before(delivered.of(self.id)) {
            metrics.source_error("spool");
            tracing::warn!(source = self.name, error = millrace_model::chain(&error), "it is tried again");
        }
        // Where a disk does not say how much room it has, the write itself will tell.
        if let Ok(space) = Space::of(&self.folder) {
            self.handle.pause(self.watermark.look(space).err().map(|shortage| shortage.to_string()));
        }
        let dropped = self.handle.take_dropped();
        let dropped = dropped.end.saturating_sub(dropped.start.max(delivered.latest(self.id)));
        if dropped > 0 {
            metrics
                .pushed_dropped
                .get_or_create(&Pushed { kind: self.kind, reason: "oldest" })
                .inc_by(dropped);
            tracing::error!(
                source = self.name,
                numbers = dropped,
                "the spool is full: its oldest records go, and those of them that are not on their way are lost"
            );
        }
        let name = SourceName { source: self.name.clone() };
        metrics.spool_bytes.get_or_create(&name).set(self.handle.bytes() as i64);
        let trouble = self.handle.trouble();
        if trouble != self.trouble {
            if let Some(problem) = &trouble {
                metrics.source_error("spool");
                tracing::error!(source = self.name, problem, "the spool takes nothing: senders wait");
            } else {
                tracing::info!(source = self.name, "the spool takes records again");
            }
            status.spool(&self.name, trouble.clone());
            self.trouble = trouble;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_generations_cover_need_not_be_kept() {
        let (delivered, spool) = (Delivered::default(), SpoolId::random());
        assert_eq!(delivered.of(spool), 0);
        assert!(delivered.written(&[(spool, 7)]));
        assert_eq!(delivered.of(spool), 0);
        assert!(!delivered.written(&[(spool, 7)]));
        assert_eq!(delivered.of(spool), 7);
        assert!(delivered.written(&[(spool, 9)]));
        assert_eq!(delivered.of(spool), 7);
    }

    #[test]
    fn no_name_of_a_source_leads_out_of_the_folder() {
        let of = |name| folder(Path::new("/s"), name);
        assert_eq!(of("net-1_a"), Path::new("/s/spool/net-1_a"));
        assert_eq!(of("../../etc"), Path::new("/s/spool/%2e%2e%2f%2e%2e%2fetc"));
        assert_ne!(of("a.b"), of("a%2eb"));
    }
}
