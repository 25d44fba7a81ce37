//! Input that others push, kept on the local disk until it is shipped: a log of numbered records in segment files. Numbers are
//! positions: a record is one position long.
//!
//! One folder is one spool, with an id of its own. [`Spool::append`] acknowledges after `fdatasync`: one thread writes all that
//! waits, syncs once, acknowledges all. A [`Reader`] gives the records back, in order, and says which numbers have none any more.
//! What is shipped goes, in whole segments ([`Spool::remove_before`]). What a record means is not known here; what happens when
//! there is no room is said by [`Overflow`]. Blocks on files; knows no runtime and no clock.
//!
//! **Invariants:**
//! - What was acknowledged is given by a reader, or removed on request, or given as lost: because of `drop_oldest`, or damage.
//! - Damage to a frame takes that frame. What lies around it is read, and what nobody has appended is never given.
//! - No number is given to two records that were acknowledged, and none of those that a checkpoint covers is given again.

mod error;
mod frame;
mod open;
mod reader;
mod walk;
mod writer;

pub use error::{Error, Refused};
pub use open::Opened;
pub use reader::{Item, Reader};

use frame::FRAME;
use millrace_model::SpoolId;
use std::{
    collections::VecDeque,
    fmt, fs,
    io::ErrorKind,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// What becomes of input when a spool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// It is refused: senders are to wait.
    #[default]
    Refuse,
    /// The oldest segment goes, unshipped as it is.
    DropOldest,
    /// It is dropped.
    DropNewest,
}

/// How much a spool may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all its files together.
    pub bytes: u64,
    /// What happens beyond that.
    pub overflow: Overflow,
}

impl Bounds {
    /// A spool cannot be smaller than this, in bytes.
    pub const LEAST: u64 = 1 << 20;

    /// A segment ends at about so many bytes.
    fn segment(self) -> u64 {
        (self.bytes / 16).clamp(32 << 10, 16 << 20)
    }

    /// So many bytes may wait for the disk, and be appended at once.
    pub fn queue(self) -> u64 {
        (self.bytes / 8).clamp(64 << 10, 16 << 20)
    }
}

/// Told once what became of an append.
pub type Done = Box<dyn FnOnce(Result<(), Refused>) + Send>;

/// The one who appends to a spool's folder. Dropping it waits for the write under way; what still waits is refused then.
pub struct Spool {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// Appends, removes and reads, as long as the [`Spool`] is open. Cloning is a reference count.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    id: SpoolId,
    bounds: Bounds,
    state: Mutex<State>,
    /// Something is to be written, or the end has come.
    work: Condvar,
    /// Something was written, or the end has come.
    written: Condvar,
}

/// A segment file.
#[derive(Debug, Clone)]
struct Segment {
    base: u64,
    path: PathBuf,
    /// How many bytes of it are whole, synced frames (and the header).
    committed: u64,
}

/// Records on their way into the spool.
struct Waiting {
    payloads: Vec<Vec<u8>>,
    bytes: u64,
    done: Done,
}

struct State {
    /// By their bases; the last one is being written. Never empty.
    segments: VecDeque<Segment>,
    /// The number of the next record that readers will see.
    end: u64,
    queue: VecDeque<Waiting>,
    queued: u64,
    /// Numbers that the next records leave out: records that were lost before they could be appended.
    missing: u64,
    /// Since when such a loss waits for being written.
    missing_since: Option<Instant>,
    /// Numbers that went with segments that were not shipped.
    dropped: Range<u64>,
    /// Why nothing can be written just now.
    trouble: Option<String>,
    /// Why nothing may be written: the owner's decision.
    paused: Option<String>,
    closed: bool,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("folder", &self.shared.folder).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.committed).sum()
    }

    /// Makes the loss of so many records known to the writer.
    fn lose(&mut self, records: u64) {
        self.missing += records;
        self.missing_since.get_or_insert_with(Instant::now);
    }
}

impl Spool {
    /// Opens the spool in `folder`, or makes one. `floor` knows of a spool which of its numbers were given out, whatever the files say:
    /// all before that one. Reads the last segment through, 16 MiB at most. Blocks. Nobody else may have the folder open.
    ///
    /// # Errors
    /// The folder cannot be used, or is of a newer version.
    pub fn open(
        folder: &Path,
        bounds: Bounds,
        floor: impl Fn(SpoolId) -> u64,
    ) -> Result<(Self, Opened), Error> {
        let (found, opened) = open::open(folder, floor)?;
        let state = State {
            segments: found.segments,
            end: found.end,
            queue: VecDeque::new(),
            queued: 0,
            missing: 0,
            missing_since: None,
            dropped: 0..0,
            trouble: None,
            paused: None,
            closed: false,
        };
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            id: opened.id,
            bounds,
            state: Mutex::new(state),
            work: Condvar::new(),
            written: Condvar::new(),
        });
        let writer = writer::Writer::new(Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || writer.run())
            .map_err(Error::at(folder, "start the thread that writes to it"))?;
        Ok((Self { shared, writer: Some(thread) }, opened))
    }

    /// For whoever appends, reads or removes.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        self.shared.written.notify_all();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has acknowledged nothing that is not on the disk.
            let _panicked = writer.join().is_err();
        }
    }
}

impl Handle {
    /// Appends records; none of them is empty. `done` is called when they are on the disk, or when they cannot be brought there, from the
    /// thread that writes: it must not block. Does not block on the disk but for dropping the oldest segment.
    ///
    /// # Errors
    /// They were not taken, and why; `done` is not called then.
    pub fn append(&self, payloads: Vec<Vec<u8>>, done: Done) -> Result<(), Refused> {
        let bytes = payloads.iter().map(|payload| (FRAME + payload.len()) as u64).sum::<u64>();
        let largest = payloads.iter().map(Vec::len).max().unwrap_or_default();
        let bounds = self.shared.bounds;
        let mut state = self.shared.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if largest > frame::LONGEST || bytes > bounds.queue() {
            return Err(Refused::TooLarge { bytes, most: bounds.queue().min(frame::LONGEST as u64) });
        }
        if let Some(reason) = state.paused.as_ref().or(state.trouble.as_ref()) {
            return Err(Refused::Disk(reason.clone()));
        }
        if state.queued + bytes > bounds.queue() {
            return Err(Refused::Busy);
        }
        if bounds.overflow == Overflow::DropOldest {
            self.make_room(&mut state, bytes);
        }
        if state.bytes() + state.queued + bytes > bounds.bytes {
            if bounds.overflow == Overflow::DropNewest {
                state.lose(payloads.len() as u64);
                self.shared.work.notify_one();
                return Err(Refused::Dropped);
            }
            return Err(Refused::Full);
        }
        state.queued += bytes;
        state.queue.push_back(Waiting { payloads, bytes, done });
        self.shared.work.notify_one();
        Ok(())
    }

    /// Drops the oldest segments until there is room for so many bytes more.
    fn make_room(&self, state: &mut State, bytes: u64) {
        while state.segments.len() > 1 && state.bytes() + state.queued + bytes > self.shared.bounds.bytes {
            let Some(oldest) = state.segments.pop_front() else { return };
            if fs::remove_file(&oldest.path).is_err_and(|error| error.kind() != ErrorKind::NotFound) {
                // Then there is no room.
                state.segments.push_front(oldest);
                return;
            }
            let next = state.segments.front().map_or(oldest.base, |segment| segment.base);
            if state.dropped.is_empty() {
                state.dropped.start = oldest.base;
            }
            state.dropped.end = next;
        }
    }

    /// So many records were lost on their way here: readers are told, in their place among the others.
    pub fn lose(&self, records: u64) {
        if records > 0 {
            self.shared.lock().lose(records);
            self.shared.work.notify_one();
        }
    }

    /// Nothing more is taken, for this reason; `None`: everything is again.
    pub fn pause(&self, reason: Option<String>) {
        self.shared.lock().paused = reason;
    }

    /// Why nothing can be taken just now; `None`: the disk and the owner have no objection.
    pub fn trouble(&self) -> Option<String> {
        let state = self.shared.lock();
        state.paused.clone().or_else(|| state.trouble.clone())
    }

    /// Removes segments whose records all have numbers before this one. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be deleted; it is tried again the next time.
    pub fn remove_before(&self, number: u64) -> Result<(), Error> {
        let mut state = self.shared.lock();
        while !state.closed && state.segments.get(1).is_some_and(|next| next.base <= number) {
            let Some(oldest) = state.segments.front() else { break };
            match fs::remove_file(&oldest.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::at(&oldest.path, "delete it")(error));
                }
                _ => state.segments.pop_front(),
            };
        }
        Ok(())
    }

    /// Reads from this number on.
    pub fn reader(&self, from: u64) -> Reader {
        Reader::new(Arc::clone(&self.shared), from)
    }

    /// Waits until there is something from this number on, or the spool closes, or so long. Blocks.
    pub fn wait(&self, number: u64, timeout: Duration) {
        let state = self.shared.lock();
        let (_state, _timed_out) = self
            .shared
            .written
            .wait_timeout_while(state, timeout, |state| !state.closed && state.end <= number)
            .unwrap_or_else(PoisonError::into_inner);
    }

    /// The first number of what is kept.
    pub fn start(&self) -> u64 {
        let state = self.shared.lock();
        state.segments.front().map_or(state.end, |segment| segment.base)
    }

    /// The number that the next record will have.
    pub fn end(&self) -> u64 {
        self.shared.lock().end
    }

    /// So many bytes it takes at once.
    pub fn most(&self) -> u64 {
        self.shared.bounds.queue()
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.shared.lock().bytes()
    }

    /// Which numbers went with segments that had to go, since it was last asked.
    pub fn take_dropped(&self) -> Range<u64> {
        let mut state = self.shared.lock();
        let end = state.dropped.end;
        std::mem::replace(&mut state.dropped, end..end)
    }
}

#[cfg(test)]
mod tests;
