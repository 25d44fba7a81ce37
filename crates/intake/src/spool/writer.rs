//! The one thread that appends to a spool: it takes all that waits, writes it, syncs it once, lets readers see it, and only then
//! acknowledges. What cannot be written is refused, and so is everything until a write works again.

use super::{
    Error, Refused, Segment, Shared, State, Waiting,
    frame::{self, FrameHeader},
    open,
};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    sync::{Arc, PoisonError},
    time::Duration,
};

/// So many bytes are written at once, or one append that is longer.
const GROUP: u64 = 4 << 20;
/// How long a loss waits for a record that makes it known, before it is written by itself.
const MARK_AFTER: Duration = Duration::from_secs(1);
/// How long after a failure something may be written again.
const RETRY: Duration = Duration::from_millis(500);

/// What is to be written together.
struct Group {
    waiting: Vec<Waiting>,
    /// Numbers to be left out first.
    missing: u64,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    seed: u32,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let seed = frame::seed(shared.id);
        Self { shared, seed, file: None, buffer: Vec::new() }
    }

    /// Writes until the spool is closed.
    pub(super) fn run(mut self) {
        while let Some(group) = self.take() {
            match self.write(&group) {
                Ok(()) => {
                    for Waiting { done, .. } in group.waiting {
                        done(Ok(()));
                    }
                }
                Err(error) => self.failed(group, &millrace_model::chain(&error)),
            }
        }
        self.close();
    }

    /// What is to be written next; `None`: nothing any more.
    fn take(&self) -> Option<Group> {
        let mut state = self.shared.lock();
        loop {
            if state.closed {
                return None;
            }
            let waited = state.missing_since.map(|since| since.elapsed());
            if !state.queue.is_empty() || waited.is_some_and(|waited| waited >= MARK_AFTER) {
                break;
            }
            let timeout = waited.map_or(Duration::from_hours(1), |waited| MARK_AFTER.saturating_sub(waited));
            let woken = self.shared.work.wait_timeout(state, timeout);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        while let Some(next) = state.queue.pop_front_if(|next| bytes == 0 || bytes + next.bytes <= GROUP) {
            bytes += next.bytes;
            waiting.push(next);
        }
        state.missing_since = None;
        Some(Group { waiting, missing: std::mem::take(&mut state.missing) })
    }

    /// Appends a group and lets readers see it. After a failure nothing of it counts.
    fn write(&mut self, group: &Group) -> Result<(), Error> {
        let (end, mut segment) = {
            let state = self.shared.lock();
            (state.end, active(&state))
        };
        let mut number = end + group.missing;
        self.buffer.clear();
        let payloads = || group.waiting.iter().flat_map(|waiting| &waiting.payloads);
        for payload in payloads().filter(|payload| !payload.is_empty()) {
            let header = FrameHeader::of(number, payload);
            self.buffer.extend_from_slice(&header.write(self.seed));
            self.buffer.extend_from_slice(payload);
            number += 1;
        }
        if self.buffer.is_empty() && group.missing > 0 {
            self.buffer.extend_from_slice(&FrameHeader::of(number, &[]).write(self.seed));
        }
        let bytes = self.buffer.len() as u64;
        if segment.committed + bytes > self.shared.bounds.segment()
            && segment.committed > frame::SEGMENT as u64
        {
            segment = self.roll(end)?;
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => reopen(&segment)?,
        };
        file.write_all_at(&self.buffer, segment.committed)
            .map_err(Error::at(&segment.path, "append to it"))?;
        file.sync_data().map_err(Error::at(&segment.path, "sync it"))?;
        self.file = Some(file);
        if self.buffer.capacity() > 2 * GROUP as usize {
            self.buffer = Vec::new();
        }

        let mut state = self.shared.lock();
        if let Some(last) = state.segments.back_mut() {
            last.committed += bytes;
        }
        state.end = number;
        state.queued -= group.waiting.iter().map(|waiting| waiting.bytes).sum::<u64>();
        state.trouble = None;
        self.shared.written.notify_all();
        Ok(())
    }

    /// Begins a segment whose first number is the present end. What was written before is synced: only the last is ever torn.
    fn roll(&mut self, end: u64) -> Result<Segment, Error> {
        self.file = None;
        let (file, segment) = open::create(&self.shared.folder, self.shared.id, end)?;
        self.file = Some(file);
        self.shared.lock().segments.push_back(segment.clone());
        Ok(segment)
    }

    fn failed(&mut self, group: Group, reason: &str) {
        // Whatever state the file is in: it is cut to its whole frames, now if that can be done, and before the next write.
        self.file = None;
        let segment = active(&self.shared.lock());
        self.file = reopen(&segment).ok();
        let refused: Vec<Waiting> = {
            let mut state = self.shared.lock();
            state.trouble = Some(reason.to_owned());
            state.missing += group.missing;
            if state.missing > 0 {
                state.missing_since.get_or_insert_with(std::time::Instant::now);
            }
            let later = std::mem::take(&mut state.queue);
            state.queued = 0;
            group.waiting.into_iter().chain(later).collect()
        };
        refuse(refused, &Refused::Disk(reason.to_owned()));
        let state = self.shared.lock();
        let waited = self.shared.work.wait_timeout_while(state, RETRY, |state| !state.closed);
        // The next append tries it.
        waited.unwrap_or_else(PoisonError::into_inner).0.trouble = None;
    }

    /// Writes down a loss that nobody has heard of, and refuses what still waits.
    fn close(mut self) {
        let (waiting, missing) = {
            let mut state = self.shared.lock();
            state.queued = 0;
            (std::mem::take(&mut state.queue), std::mem::take(&mut state.missing))
        };
        refuse(waiting, &Refused::Closed);
        if missing > 0 {
            let group = Group { waiting: Vec::new(), missing };
            // The disk takes nothing: the loss stays in the metrics alone.
            let _unwritten = self.write(&group).is_err();
        }
    }
}

fn refuse(waiting: impl IntoIterator<Item = Waiting>, why: &Refused) {
    for Waiting { done, .. } in waiting {
        done(Err(why.clone()));
    }
}

fn active(state: &State) -> Segment {
    #[expect(clippy::expect_used, reason = "opening puts one in, and the last is never taken out")]
    state.segments.back().expect("a spool has a segment").clone()
}

/// The file being appended to, cut to its whole frames.
fn reopen(segment: &Segment) -> Result<File, Error> {
    let file =
        OpenOptions::new().write(true).open(&segment.path).map_err(Error::at(&segment.path, "open it"))?;
    file.set_len(segment.committed).map_err(Error::at(&segment.path, "cut it"))?;
    Ok(file)
}
