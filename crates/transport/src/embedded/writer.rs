//! The one thread that appends to a partition. It takes all messages that wait, makes one block of them, writes it,
//! syncs it, and only then lets readers see it and reports. A write that fails, or that would take room which the disk must
//! keep, is tried again until it works: the messages wait, senders wait, nothing is lost.

use super::{
    Shared, block,
    log::{Log, file_error},
    segment::Segment,
};
use crate::{Error, Rejected, reports::Slot, settings::Fsync, sync::lock};
use millrace_config::{Space, Watermark};
use millrace_model::{chain, wire::Payload};
use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// A block holds about so many bytes of messages at most; a larger message gets one of its own.
const BLOCK: usize = 1 << 20;
/// And so many messages.
const MESSAGES: usize = 16_384;
/// How long to wait before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// A message on its way into a partition.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) payload: Payload,
    pub(crate) size: usize,
    pub(crate) slot: Slot,
}

/// What waits for a partition's writer.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<InboxState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct InboxState {
    queue: VecDeque<Waiting>,
    stopping: bool,
    roll: bool,
}

/// What a writer is to do next.
enum Work {
    Append(Vec<Waiting>),
    Roll,
    Stop,
}

impl Inbox {
    pub(crate) fn put(&self, waiting: Waiting) {
        lock(&self.state).queue.push_back(waiting);
        self.changed.notify_one();
    }

    /// Lets the writer write what waits, and end.
    pub(crate) fn stop(&self) {
        lock(&self.state).stopping = true;
        self.changed.notify_all();
    }

    /// Has the writer begin a new segment before it appends anything else.
    pub(crate) fn ask_roll(&self) {
        lock(&self.state).roll = true;
        self.changed.notify_all();
    }

    /// What is to be done next: the messages of the next block, if there are any. Waits for something.
    fn take(&self) -> Work {
        let mut state = lock(&self.state);
        while state.queue.is_empty() && !state.stopping && !state.roll {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if std::mem::take(&mut state.roll) {
            return Work::Roll;
        }
        if state.queue.is_empty() {
            return Work::Stop;
        }
        let mut bytes = 0;
        let mut count = 0;
        for waiting in &state.queue {
            bytes += waiting.size;
            if count == MESSAGES || (count > 0 && bytes > BLOCK) {
                break;
            }
            count += 1;
        }
        Work::Append(state.queue.drain(..count).collect())
    }

    /// Waits before another try; says whether the writer is being stopped.
    fn pause(&self) -> bool {
        let state = lock(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, RETRY, |state| !state.stopping)
            .unwrap_or_else(PoisonError::into_inner);
        state.stopping
    }
}

/// Appends to one partition.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Arc<Log>,
    pub(crate) inbox: Arc<Inbox>,
    segment: Arc<Segment>,
    file: Option<File>,
    watermark: Watermark,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, log: Arc<Log>, inbox: Arc<Inbox>) -> Self {
        let segment = log.active();
        let watermark = Watermark::new(shared.settings.min_free);
        Self { shared, log, inbox, segment, file: None, watermark }
    }

    /// Appends until the inbox is stopped and empty.
    pub(crate) fn run(mut self) {
        loop {
            let batch = match self.inbox.take() {
                Work::Append(batch) => batch,
                Work::Stop => return,
                Work::Roll => {
                    if self.segment.committed() > 0
                        && let Err(error) = self.roll()
                    {
                        // Asked again soon; the file is opened anew before the next append.
                        self.file = None;
                        tracing::warn!(error = chain(&error), "a segment of the topic cannot be ended");
                    }
                    continue;
                }
            };
            match self.append_until_done(&batch) {
                Some(first) => {
                    self.shared.arrived.ring();
                    for (offset, waiting) in (first..).zip(batch) {
                        waiting.slot.report(Ok((self.log.partition, offset)));
                    }
                }
                // Stopped while the disk takes nothing: unreported, and so still the sender's.
                None => return,
            }
        }
    }

    /// The first offset of the batch; `None` when stopped before it could be written.
    fn append_until_done(&mut self, batch: &[Waiting]) -> Option<i64> {
        let mut told = false;
        loop {
            match self.append(batch) {
                Ok(first) => {
                    if told {
                        tracing::info!(partition = %self.log.partition, "the disk takes messages again");
                        self.shared.set_trouble(self.log.partition, None);
                    }
                    return Some(first);
                }
                Err(error) => {
                    self.shared.metrics.retries.inc();
                    let reason = chain(&error);
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(partition = %self.log.partition, reason, "cannot append; senders wait");
                    }
                    self.shared.set_trouble(self.log.partition, Some(reason));
                    // Whatever state the file is in: opened and cut to its whole blocks before the next try.
                    self.file = None;
                    if self.inbox.pause() {
                        return None;
                    }
                }
            }
        }
    }

    /// Appends one block, and returns its first offset. After a failure nothing of it counts.
    fn append(&mut self, batch: &[Waiting]) -> Result<i64, Error> {
        self.look_for_room()?;
        let first = self.log.end();
        let now = self.shared.clock.now();
        let payloads = batch.iter().map(|waiting| &waiting.payload);
        let (header, block) =
            block::encode(first, now, payloads).map_err(self.failed("compress a block for it"))?;
        if self.segment.committed() > 0
            && self.segment.committed() + header.total() > self.shared.settings.segment_bytes
        {
            self.roll()?;
        }
        let sync = self.shared.settings.fsync == Fsync::Always;
        let segment = Arc::clone(&self.segment);
        let position = segment.committed();
        let file = self.file()?;
        file.write_all_at(&block, position).map_err(file_error(&segment.path, "append to it"))?;
        if sync {
            file.sync_data().map_err(file_error(&segment.path, "sync it"))?;
        }
        segment.commit(&header, position);
        self.log.publish(header.end());
        Ok(first)
    }

    /// Has the disk the room that it must keep? If it does not say, the write itself will tell.
    fn look_for_room(&mut self) -> Result<(), Error> {
        let path = &self.segment.path;
        let Ok(space) = Space::of(path) else { return Ok(()) };
        self.watermark.look(space).map_err(|shortage| Error::Full { path: path.clone(), shortage })
    }

    /// The file being appended to, cut to its whole blocks when it is opened.
    fn file(&mut self) -> Result<&File, Error> {
        let file = if let Some(file) = self.file.take() {
            file
        } else {
            let open = OpenOptions::new().write(true).open(&self.segment.path);
            let file = open.map_err(self.failed("open it"))?;
            file.set_len(self.segment.committed()).map_err(self.failed("cut it"))?;
            file
        };
        Ok(self.file.insert(file))
    }

    fn roll(&mut self) -> Result<(), Error> {
        // Only the last segment may ever be torn.
        let failed = self.failed("sync it");
        self.file()?.sync_data().map_err(failed)?;
        let (segment, file) = self.log.roll()?;
        self.segment = segment;
        self.file = Some(file);
        Ok(())
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        file_error(&self.segment.path, action)
    }
}

/// What an embedded topic refuses at once.
pub(crate) fn refuse(size: usize, limit: u64) -> Option<Rejected> {
    (size as u64 > limit).then_some(Rejected::TooLarge { bytes: size })
}
