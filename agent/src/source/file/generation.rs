//! One generation of one file: what lies under one identity until it is truncated, and how far it was read.
//!
//! The bytes before the position are read again with each block. If they are not what they were, the file was replaced
//! under our hands, however large it has grown since.

mod ending;
mod following;
mod pending;
mod zeros;

use super::{
    FileContext, FileIdentity, Fingerprint, HEAD, MARKER,
    content::Content,
    packed::Candidate,
    records::{put, resource},
};
use crate::{
    budget::Stopped,
    checkpoint::{Closing, Entry, FilePlace},
    framing::{Framer, Framing, Piece},
    source::{Mark, Outbox, Reading},
};
use millrace_model::{Attributes, SourceId};
use pending::mark_at;
use std::{
    collections::VecDeque,
    fs::{File, Metadata},
    io,
    os::fd::AsRawFd,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// What is read at once.
const BLOCK: usize = 256 << 10;
/// What one file may read before the others have their turn.
const TURN: u64 = 1 << 20;
/// A waiting piece of a line that is larger than this is not kept in memory while the file is parked.
const PARKED_BYTES: u64 = 4 << 10;

/// Where blocks are read into; one for all files of a reader.
#[derive(Debug)]
pub(crate) struct ReadBlock(Box<[u8]>);

impl ReadBlock {
    pub(crate) fn new() -> Self {
        Self(vec![0; MARKER + BLOCK].into_boxed_slice())
    }
}

/// How a turn ended.
#[derive(Debug)]
pub(crate) enum Turn {
    /// There is more to read.
    More,
    /// Nothing more for now.
    Drained,
    /// The file is smaller than it was, or not what it was: another generation has begun.
    Replaced,
    /// The end that was decided on is reached.
    Ended,
    /// At its path lies another file, or none.
    Elsewhere,
    /// It cannot be read now.
    Trouble(io::Error),
}

/// Why a file is read for the last time.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) reason: &'static str,
    /// Since when nothing has come.
    pub(crate) quiet: Instant,
    /// The walk that saw it go. What it became is seen by a later one at the earliest.
    pub(crate) walk: u64,
}

/// A file being read.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what is known of a file comes one by one, in any order")]
pub(crate) struct Generation {
    pub(crate) source: SourceId,
    /// Where it was first seen.
    pub(crate) path: PathBuf,
    /// Where it is now.
    pub(crate) at: PathBuf,
    pub(crate) identity: FileIdentity,
    pub(crate) leaving: Option<Leaving>,
    /// When it was last read from.
    pub(crate) active: Instant,
    /// It stands in the queue of those that have a turn.
    pub(crate) queued: bool,
    /// The walk that saw it last.
    pub(crate) walk: u64,
    /// Since when it is nowhere to be found.
    pub(crate) missing: Option<Instant>,
    /// What its trouble is, so that it is said once.
    pub(crate) trouble: Option<io::ErrorKind>,
    /// How large it was, when it was last looked at, if it is compressed; positions are those of what it holds.
    pub(crate) packed: Option<u64>,
    handle: Option<Content>,
    /// Everything before was given to framing.
    read_to: u64,
    framer: Framer,
    framing: Framing,
    /// What it is written in is known.
    charset_known: bool,
    /// How many zero bytes lie behind what was read. Nothing but zeros has followed them yet, so they may be written over.
    zeros: u64,
    /// How large it was, and when it was last written to, as a walk saw it.
    pub(crate) seen: u64,
    modified: Option<SystemTime>,
    /// How far what waits for its end has come, and since when.
    progress: ((u64, u64), Instant),
    /// Where waiting for a line's end was given up in an earlier life, and what came of it may have been shipped.
    cuts: VecDeque<u64>,
    /// The bytes before `read_to`; empty with `unverified` set until they were read again.
    tail: Vec<u8>,
    /// What the bytes before `read_to` must be.
    unverified: Option<Fingerprint>,
    head: Fingerprint,
    /// The checkpoint has (a part of) the head.
    head_told: bool,
    /// What stands before the end of the last piece.
    mark: (u64, Fingerprint),
    outbox: Outbox,
    resource: Arc<Attributes>,
    /// The end that was decided on in an earlier life.
    closing: Option<Closing>,
    /// The largest size that was seen.
    size: u64,
    /// How often in a row it was smaller than what was read.
    shrunk: u32,
    /// It is known to have been written to, and was not read since.
    unread: bool,
    /// The size at which there was nothing more to read; `None` before the first turn.
    settled: Option<u64>,
    /// Nothing of it can have been shipped before this process began.
    fresh: bool,
}

impl Generation {
    /// A source as the checkpoint knows it; a new one lies at its start.
    pub(crate) fn new(
        source: SourceId,
        entry: &Entry,
        place: &FilePlace,
        fresh: bool,
        context: &FileContext,
    ) -> Self {
        let position = entry.position;
        let now = Instant::now();
        let framing = context.framing(&place.path);
        let framer = Framer::new(position, &framing).with_merged(entry.merged.clone());
        Self {
            source,
            path: place.path.clone(),
            at: place.at.clone(),
            identity: place.identity,
            leaving: None,
            active: now,
            queued: false,
            walk: 0,
            missing: None,
            trouble: None,
            packed: place.packed,
            handle: None,
            read_to: position,
            progress: (framer.progress(), now),
            framer,
            framing,
            charset_known: context.settings.charset.is_some(),
            zeros: 0,
            seen: 0,
            modified: None,
            cuts: entry.cuts.iter().copied().filter(|cut| *cut > position).collect(),
            tail: Vec::new(),
            unverified: (position > 0).then_some(place.marker),
            head: place.head,
            head_told: place.head.length > 0,
            mark: (position, place.marker),
            outbox: Outbox::new(source, position, entry.opening(&context.shared.host)),
            resource: resource(&context.shared.host, &place.path),
            closing: entry.closing.clone(),
            size: place.size,
            shrunk: 0,
            unread: false,
            settled: None,
            fresh,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.handle.is_some()
    }

    /// Where the next byte is expected.
    pub(crate) fn position(&self) -> u64 {
        self.read_to
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Was everything read that was there?
    pub(crate) fn is_drained(&self) -> bool {
        self.settled.is_some() && !self.unread && !self.queued
    }

    /// Is a file of this size something to read?
    pub(crate) fn differs_from(&self, size: u64) -> bool {
        self.unread || self.settled != Some(size)
    }

    /// Does it end in zero bytes, and was it written to since this was last asked?
    pub(crate) fn is_rewritten(&mut self, modified: Option<SystemTime>) -> bool {
        let known = std::mem::replace(&mut self.modified, modified);
        self.zeros > 0 && known != modified
    }

    /// How many bytes lay there, when a walk saw it, that are not read yet. Of a compressed file nobody knows.
    pub(crate) fn unread_bytes(&self) -> u64 {
        if self.packed.is_some() { 0 } else { self.seen.saturating_sub(self.read_to + self.zeros) }
    }

    /// How a compressed copy of it would be known.
    pub(super) fn as_candidate(&self) -> Option<Candidate> {
        let (position, marker) = self.mark;
        let candidate = Candidate { source: self.source, head: self.head, position, marker };
        self.packed.is_none().then_some(candidate)
    }

    /// Was it empty whenever it was looked at? Then nothing but a name tells which compressed file is its copy.
    pub(super) fn is_blank(&self) -> bool {
        self.packed.is_none() && self.head.length == 0 && self.mark.0 == 0 && self.size == 0
    }

    pub(crate) fn batch_since(&self) -> Option<Instant> {
        self.outbox.since()
    }

    /// Was it drained, and quiet for so long?
    pub(crate) fn is_quiet(&self, wait: Duration) -> bool {
        self.is_drained() && self.leaving.as_ref().is_some_and(|leaving| leaving.quiet.elapsed() >= wait)
    }

    /// It is read for the last time. Of several reasons the latest counts.
    pub(crate) fn leave(&mut self, reason: &'static str, walk: u64) {
        self.leaving.get_or_insert_with(|| Leaving { reason, quiet: Instant::now(), walk }).reason = reason;
    }

    /// Reads through this handle.
    pub(crate) fn hold(&mut self, content: Content) {
        self.handle = Some(content);
    }

    /// Lets go of the file, but not of the place in it.
    pub(crate) fn park(&mut self) {
        self.handle = None;
        if self.framer.pending() > PARKED_BYTES {
            self.framer.rewind();
            self.read_to = self.framer.at();
            self.tail.clear();
            self.unverified = (self.read_to > 0).then_some(self.mark.1);
        }
    }

    /// Of the open file.
    pub(crate) fn open_metadata(&self) -> Option<Metadata> {
        self.handle.as_ref()?.file().metadata().ok()
    }

    /// Lets go of a file that cannot be opened again.
    pub(crate) fn let_go(&mut self) {
        if let Some(metadata) = self.open_metadata() {
            self.size = self.size.max(metadata.len());
        }
        self.park();
        self.unread = true;
    }

    /// Where the open file lies now, and whether it has still a name at all; `None` if it is not open.
    pub(crate) fn whereabouts(&self) -> Option<io::Result<(Option<PathBuf>, u64)>> {
        let handle = self.handle.as_ref()?.file();
        Some(handle.metadata().map(|metadata| {
            let named = std::os::unix::fs::MetadataExt::nlink(&metadata) > 0;
            let link = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
            (named.then(|| std::fs::read_link(link).unwrap_or_else(|_| self.at.clone())), metadata.len())
        }))
    }

    /// Opens the file at its path, if it is still the same.
    pub(crate) fn open(&mut self) -> io::Result<bool> {
        if self.handle.is_none() {
            let file = match File::open(&self.at) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.unread = true;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
            if FileIdentity::of(&file.metadata()?) != self.identity {
                self.unread = true;
                return Ok(false);
            }
            self.handle = Some(Content::new(file, self.packed.is_some()));
        }
        Ok(true)
    }

    /// Reads what is there, up to a fair share. Blocks.
    pub(crate) fn turn(&mut self, block: &mut ReadBlock, context: &FileContext) -> Result<Turn, Stopped> {
        match self.open() {
            Ok(true) => {}
            Ok(false) => return Ok(Turn::Elsewhere),
            Err(error) => return Ok(Turn::Trouble(error)),
        }
        let outcome = self.read(block, context);
        match outcome {
            Ok(turn) => Ok(turn),
            Err(Failure::Io(error)) => Ok(Turn::Trouble(error)),
            Err(Failure::Stopped) => Err(Stopped),
        }
    }

    fn read(&mut self, block: &mut ReadBlock, context: &FileContext) -> Result<Turn, Failure> {
        let Some(mut content) = self.handle.take() else { return Ok(Turn::Elsewhere) };
        let outcome = self.read_from(&mut content, block, context);
        self.handle = Some(content);
        if self.framer.progress() != self.progress.0 {
            self.progress = (self.framer.progress(), Instant::now());
        }
        outcome
    }

    fn read_from(
        &mut self,
        content: &mut Content,
        block: &mut ReadBlock,
        context: &FileContext,
    ) -> Result<Turn, Failure> {
        let mut size = content.file().metadata()?.len();
        if let Some(packed) = &mut self.packed {
            // How much it holds is known at its end.
            (self.settled, *packed, size) = (Some(size), size, u64::MAX);
        } else {
            if size < self.read_to {
                return Ok(self.is_smaller());
            }
            self.size = self.size.max(size);
        }
        if self.unverified.is_some() && !self.verify(content)? {
            return Ok(Turn::Replaced);
        }
        self.shrunk = 0;
        self.unread = false;
        if !self.charset_known && !self.find_charset(content, size)? {
            self.settled = (size == 0).then_some(0);
            return Ok(Turn::Drained);
        }
        let end = self.closing.as_ref().map_or(u64::MAX, |closing| closing.end);
        // What was looked at up to the end may be something else now.
        let known = if self.settled.is_some() { std::mem::take(&mut self.zeros) } else { 0 };
        let as_before = known > 0 && self.settled == Some(size);
        let mut left = TURN;
        while left > 0 && self.read_to + self.zeros < size.min(end) {
            let at = self.read_to + self.zeros;
            let before = if self.zeros == 0 { self.tail.len() } else { 0 };
            let limit = usize::try_from(end - at).unwrap_or(usize::MAX).min(BLOCK);
            let read = content.read_at(&mut block.0[..before + limit], at - before as u64)?;
            let window = &block.0[..read];
            if read < before {
                return Ok(self.is_smaller());
            }
            if before > 0 && window[..before] != self.tail {
                return Ok(Turn::Replaced);
            }
            if read == before {
                break;
            }
            let data = self.without_zeros(window, before);
            if data > before {
                self.keep_zeros(context);
                self.take_in(content, &window[..data], before, context)?;
            } else if as_before {
                self.zeros = size.min(end) - self.read_to;
                break;
            }
            self.zeros += (read - data) as u64;
            self.pass_hole(content, size.min(end));
            left = left.saturating_sub((read - before) as u64);
            if !context.shared.budget.wait_for_room(Duration::ZERO) {
                break;
            }
        }
        if self.read_to + self.zeros >= end {
            self.keep_zeros(context);
        }
        if self.read_to >= end || matches!(content, Content::Gzip(gzip) if gzip.is_ended()) {
            return Ok(Turn::Ended);
        }
        if self.read_to + self.zeros < size {
            self.settled = None;
            return Ok(Turn::More);
        }
        self.settled = Some(size);
        Ok(Turn::Drained)
    }

    /// Smaller than what was read: believed when it is seen twice, for some file systems report a stale size once.
    fn is_smaller(&mut self) -> Turn {
        self.shrunk += 1;
        if self.shrunk >= 2 { Turn::Replaced } else { Turn::Drained }
    }

    /// Are head and marker what the checkpoint says? Then the bytes before the position are at hand again.
    fn verify(&mut self, content: &mut Content) -> io::Result<bool> {
        let Some(marker) = self.unverified else { return Ok(true) };
        let mut head = vec![0; usize::from(self.head.length)];
        let mut tail = vec![0; usize::from(marker.length)];
        let from = self.read_to.checked_sub(u64::from(marker.length));
        let read = from.map(|from| {
            content.read_exact_at(&mut head, 0).and_then(|()| content.read_exact_at(&mut tail, from))
        });
        match read {
            Some(Ok(())) => {}
            Some(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => return Ok(false),
        }
        if Fingerprint::of(&tail) != marker || Fingerprint::of(&head) != self.head {
            return Ok(false);
        }
        self.tail = tail;
        self.unverified = None;
        Ok(true)
    }

    /// `ReadBlock` → `RawLine` → `LogRecord` → `Redacted` → `Batch`. The first `before` bytes of the window are old.
    fn take_in(
        &mut self,
        content: &mut Content,
        window: &[u8],
        before: usize,
        context: &FileContext,
    ) -> Result<(), Failure> {
        let from = self.read_to - before as u64;
        self.read_to = from + window.len() as u64;
        self.active = Instant::now();
        if let Some(leaving) = &mut self.leaving {
            leaving.quiet = self.active;
        }
        self.extend_head(content, window, from)?;
        if !std::mem::replace(&mut self.head_told, true) {
            let told = context.shared.tell(Reading::Head(self.source, self.head));
            told.map_err(|Stopped| Failure::Stopped)?;
        }
        let mut next = &window[before..];
        let mut at = from + before as u64;
        let observed = context.shared.clock.now();
        let Self { framer, outbox, mark, head, size, resource, cuts, .. } = self;
        let mut stopped = Ok(());
        let take = &mut |piece: Piece<'_>| {
            if stopped.is_err() {
                return;
            }
            // Where the mark cannot be read now the batch grows, until it can.
            if piece.begins()
                && outbox.is_full_for(piece.weight(), &context.shared)
                && let Ok(at) = mark_at(*mark, outbox.end(), Some(content), window, from)
            {
                *mark = at;
                let place = Mark::File { head: *head, marker: mark.1, size: *size };
                stopped = outbox.seal(place, None, &context.shared);
            }
            put(&piece, outbox, observed, resource, context);
        };
        // What was cut once is cut there again: it may have been shipped so.
        while let Some(cut) = cuts.front().copied().filter(|cut| *cut <= at + next.len() as u64) {
            cuts.pop_front();
            let (part, rest) = next.split_at(cut.saturating_sub(at) as usize);
            framer.push(part, take);
            framer.cut(take);
            (next, at) = (rest, cut.max(at));
        }
        framer.push(next, take);
        stopped.map_err(|Stopped| Failure::Stopped)?;
        if let Ok(at) = mark_at(*mark, outbox.end(), Some(content), window, from) {
            *mark = at;
        }
        self.tail.clear();
        self.tail.extend_from_slice(&window[window.len().saturating_sub(MARKER)..]);
        Ok(())
    }

    /// The head is looked at again until all of it is there.
    fn extend_head(&mut self, content: &mut Content, window: &[u8], from: u64) -> io::Result<()> {
        if usize::from(self.head.length) >= HEAD {
            return Ok(());
        }
        let length = usize::try_from(self.read_to).unwrap_or(HEAD).min(HEAD);
        if from == 0 {
            self.head = Fingerprint::of(&window[..length]);
        } else {
            let mut bytes = vec![0; length];
            content.read_exact_at(&mut bytes, 0)?;
            self.head = Fingerprint::of(&bytes);
        }
        Ok(())
    }

    /// Ships what waits; later, if what stands before its end cannot be read now.
    pub(crate) fn seal(&mut self, context: &FileContext) -> Result<(), Stopped> {
        let Some(mark) = self.mark_before(self.outbox.end()) else { return Ok(()) };
        self.mark = mark;
        let mark = Mark::File { head: self.head, marker: self.mark.1, size: self.size };
        self.outbox.seal(mark, None, &context.shared)
    }
}

enum Failure {
    Io(io::Error),
    Stopped,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests;
