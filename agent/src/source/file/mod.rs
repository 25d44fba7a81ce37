//! File sources: which files there are, which generation each of them is, and whose turn it is to be read.
//!
//! One OS thread a configured source. Change notifications say where to look first; a walk over the globs says what is
//! true. A walk never takes more than about a hundredth of the time.
//!
//! **Invariants:**
//! - A file is known by its identity, never by its name. A name only says where to open it.
//! - What was begun is read to its end, wherever the file is moved, as long as it is to be found at all.
//! - A new source is handed to the shipper before any of its bytes is.

mod container;
mod content;
mod deleted;
mod discover;
mod following;
mod generation;
mod hints;
mod identity;
pub(crate) mod named;
mod packed;
mod records;
mod walk;

pub(crate) use content::{Content, is_packed};
pub(crate) use discover::{Found, Globs};
pub(crate) use identity::{FileIdentity, Fingerprint, HEAD, MARKER};
pub(crate) use records::{record_of, resource};

use crate::{
    Error,
    budget::Stopped,
    checkpoint::{Entry, FilePlace, Place},
    framing::Framing,
    metrics::{Kind, Reason},
    settings::FileSettings,
    source::{Context, Reading},
};
use generation::{Generation, ReadBlock, Turn};
use hints::{Changes, Hints};
use millrace_model::SourceId;
use packed::Recognising;
use std::{
    collections::{HashMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// With more open files than this, a file is closed after each turn and opened again for the next.
const OPEN_FILES: usize = 256;
/// A file that was quiet for so long is closed.
const PARK_AFTER: Duration = Duration::from_mins(5);
/// A walk is not repeated before this many times its own length has passed.
const WALK_SHARE: u32 = 100;
/// Nor, where a change asks for one, before this many times.
const WALK_SHARE_ASKED: u32 = 5;
/// An ended source is forgotten when its file was nowhere for so long: a walk can miss a file that is being renamed.
const FORGET_AFTER: Duration = Duration::from_mins(1);
/// How long a reader without anything to do sleeps before it looks whether it should stop.
const LOOK: Duration = Duration::from_millis(200);

/// What the generations of one source share.
pub(crate) struct FileContext {
    pub(crate) shared: Context,
    pub(crate) settings: Arc<FileSettings>,
}

impl FileContext {
    fn framing(&self, path: &Path) -> Framing {
        framing_of(&self.settings, path)
    }

    fn count_closed(&self, reason: &'static str) {
        self.shared.metrics.closed_sources.get_or_create(&Reason { reason }).inc();
    }
}

/// How the bytes of a file become lines, as far as its path tells.
pub(crate) fn framing_of(settings: &FileSettings, path: &Path) -> Framing {
    Framing {
        max_line: settings.max_line,
        multiline: settings.multiline.clone(),
        containers: settings.containers.unwrap_or_else(|| container::is_place(path)),
        charset: settings.charset.unwrap_or_default(),
    }
}

/// Would a source of these settings read the file at this path?
pub(crate) fn reads(name: &str, settings: &FileSettings, path: &Path) -> bool {
    Globs::new(name, &settings.include, &settings.exclude).is_ok_and(|globs| globs.matches(path))
}

/// Starts the thread that reads the files of one source; it goes on from what the checkpoint knows.
pub(crate) fn spawn(
    context: Context,
    settings: FileSettings,
    known: Vec<(SourceId, Entry)>,
) -> Result<JoinHandle<()>, Error> {
    let name = context.name.to_string();
    let globs = Globs::new(&name, &settings.include, &settings.exclude)?;
    let context = FileContext { shared: context, settings: Arc::new(settings) };
    let spawned = thread::Builder::new().name(format!("file-{name}")).spawn(move || {
        let mut context = context;
        context.shared.budget.look_first();
        let mut reader = Reader::new(context, globs, known);
        // Stopped is how it ends.
        let Stopped = reader.run();
        reader.finish();
    });
    spawned.map_err(|source| Error::Thread { name, source })
}

/// A source that has ended while its file may still lie there.
#[derive(Debug)]
struct Ended {
    source: SourceId,
    place: FilePlace,
    walk: u64,
    /// Since when its file was not seen.
    missing: Option<Instant>,
}

struct Reader {
    context: FileContext,
    globs: Globs,
    hints: Hints,
    block: ReadBlock,
    generations: HashMap<SourceId, Generation>,
    by_identity: HashMap<FileIdentity, SourceId>,
    by_path: HashMap<PathBuf, SourceId>,
    ended: HashMap<FileIdentity, Ended>,
    /// The source that was cut off by a truncation, until its file's next generation begins.
    truncated: HashMap<FileIdentity, SourceId>,
    /// Compressed files of which it is being found out which source they are.
    recognising: HashMap<FileIdentity, Recognising>,
    /// Compressed copies of files that are still read.
    twins: HashMap<FileIdentity, (SourceId, Found)>,
    /// The file that lay at a path before, and is still read.
    left: HashMap<PathBuf, SourceId>,
    /// The file that follows one, and waits to see what of it belongs to that one's last records.
    heirs: HashMap<SourceId, SourceId>,
    /// Whose turn it is.
    queue: VecDeque<SourceId>,
    /// Sources with a batch begun.
    begun: Vec<SourceId>,
    /// When the first of their batches may have waited long enough.
    batch_due: Option<Instant>,
    /// Sources with something pending that waits for its end.
    pending: Vec<SourceId>,
    open_files: usize,
    /// How many bytes of deleted files it keeps on the disk.
    deleted: u64,
    walks: u64,
    last_walk: Instant,
    /// Since when walks see something that is not read.
    behind: Option<Instant>,
    walk_took: Duration,
    /// A change asks for a walk.
    walk_asked: bool,
    /// Trouble with paths that are no source (yet), so that it is said once.
    troubles: HashMap<PathBuf, io::ErrorKind>,
}

impl Reader {
    fn new(context: FileContext, globs: Globs, known: Vec<(SourceId, Entry)>) -> Self {
        let mut reader = Self {
            context,
            globs,
            hints: Hints::new(),
            block: ReadBlock::new(),
            generations: HashMap::new(),
            by_identity: HashMap::new(),
            by_path: HashMap::new(),
            ended: HashMap::new(),
            truncated: HashMap::new(),
            recognising: HashMap::new(),
            twins: HashMap::new(),
            left: HashMap::new(),
            heirs: HashMap::new(),
            queue: VecDeque::new(),
            begun: Vec::new(),
            batch_due: None,
            pending: Vec::new(),
            open_files: 0,
            deleted: 0,
            walks: 0,
            last_walk: Instant::now(),
            behind: None,
            walk_took: Duration::ZERO,
            walk_asked: true,
            troubles: HashMap::new(),
        };
        let mut known = known;
        // Of two generations of one file the later one, which is not closing, is found by its identity.
        known.sort_by_key(|(_, entry)| entry.closing.is_none());
        for (source, entry) in known {
            let Place::File(place) = &entry.place else { continue };
            if entry.closed {
                let place = FilePlace { size: entry.position, ..place.clone() };
                reader.ended.insert(place.identity, Ended { source, place, walk: 0, missing: None });
            } else {
                reader.add(Generation::new(source, &entry, place, false, &reader.context));
            }
        }
        reader
    }

    /// Reads until it is told to stop.
    fn run(&mut self) -> Stopped {
        loop {
            if self.context.shared.stopping() {
                return Stopped;
            }
            let step = self.step();
            if step.is_err() {
                return Stopped;
            }
        }
    }

    fn step(&mut self) -> Result<(), Stopped> {
        if self.walk_due().is_zero() {
            self.walk()?;
            self.let_go_of_deleted();
        }
        if !self.context.shared.budget.wait_for_room(Duration::ZERO) {
            // Nothing is read, but what happens to the files is seen.
            let changes = self.hints.wait(Duration::ZERO);
            self.look_into(changes);
            self.context.shared.budget.wait_for_room(LOOK.min(self.walk_due()));
            return Ok(());
        }
        // A round for all that were waiting when it began.
        for _ in 0..self.queue.len() {
            let Some(source) = self.queue.pop_front() else { break };
            self.turn(source)?;
            self.seal_aged()?;
            if !self.context.shared.budget.wait_for_room(Duration::ZERO) {
                return Ok(());
            }
        }
        self.cut_aged()?;
        let batch_due = self.seal_aged()?;
        let wait = if self.queue.is_empty() {
            batch_due.unwrap_or(LOOK).min(self.walk_due()).min(LOOK)
        } else {
            Duration::ZERO
        };
        let changes = self.hints.wait(wait);
        self.look_into(changes);
        Ok(())
    }

    /// How long until the next walk.
    fn walk_due(&self) -> Duration {
        let regular = self.context.settings.rescan.max(self.walk_took * WALK_SHARE);
        let asked = self.walk_asked.then(|| self.walk_took * WALK_SHARE_ASKED);
        let wait = asked.map_or(regular, |asked| asked.min(regular));
        if self.walks == 0 { Duration::ZERO } else { wait.saturating_sub(self.last_walk.elapsed()) }
    }

    fn look_into(&mut self, changes: Changes) {
        self.walk_asked |= changes.everything;
        for path in changes.written {
            match self.by_path.get(&path) {
                Some(source) => self.enqueue(*source),
                None => self.walk_asked |= self.globs.matches(&path),
            }
        }
        for path in changes.named {
            self.walk_asked |= self.by_path.contains_key(&path) || self.globs.matches(&path) || path.is_dir();
        }
    }

    fn enqueue(&mut self, source: SourceId) {
        if let Some(generation) = self.generations.get_mut(&source)
            && !generation.queued
        {
            generation.queued = true;
            self.queue.push_back(source);
        }
    }

    /// Takes a generation in and gives it a turn.
    fn add(&mut self, generation: Generation) {
        let source = generation.source;
        self.by_identity.insert(generation.identity, source);
        self.by_path.insert(generation.at.clone(), source);
        self.open_files += usize::from(generation.is_open());
        self.generations.insert(source, generation);
        self.context.shared.metrics.sources.get_or_create(&Kind { kind: self.context.shared.kind }).inc();
        self.enqueue(source);
    }

    fn remove(&mut self, source: SourceId) -> Option<Generation> {
        let generation = self.generations.remove(&source)?;
        if self.by_identity.get(&generation.identity) == Some(&source) {
            self.by_identity.remove(&generation.identity);
        }
        if self.by_path.get(&generation.at) == Some(&source) {
            self.by_path.remove(&generation.at);
        }
        if self.left.get(&generation.path) == Some(&source) {
            self.left.remove(&generation.path);
        }
        self.heirs.retain(|_, heir| *heir != source);
        self.open_files -= usize::from(generation.is_open());
        self.context.shared.metrics.sources.get_or_create(&Kind { kind: self.context.shared.kind }).dec();
        Some(generation)
    }

    fn turn(&mut self, source: SourceId) -> Result<(), Stopped> {
        let Some(generation) = self.generations.get_mut(&source) else { return Ok(()) };
        generation.queued = false;
        if !self.may_begin(source)? {
            return Ok(());
        }
        let Some(generation) = self.generations.get_mut(&source) else { return Ok(()) };
        let was_open = generation.is_open();
        let waited = generation.batch_since().is_some();
        let turn = generation.turn(&mut self.block, &self.context)?;
        if !waited && let Some(since) = generation.batch_since() {
            self.begun.push(source);
            self.batch_due.get_or_insert(since + self.context.shared.limits.age);
        }
        if generation.cut_due(&self.context).is_some() && !self.pending.contains(&source) {
            self.pending.push(source);
        }
        if !matches!(turn, Turn::Trouble(_)) && generation.trouble.take().is_some() {
            tracing::info!(path = %generation.at.display(), "the file can be read again");
        }
        self.open_files = self.open_files + usize::from(generation.is_open()) - usize::from(was_open);
        if self.open_files > OPEN_FILES && generation.is_open() && generation.leaving.is_none() {
            generation.park();
            self.open_files -= 1;
        }
        let closing = generation.is_closing();
        match turn {
            Turn::More => self.enqueue(source),
            // An end that was decided on is not reached any more: the file was cut short.
            Turn::Drained if closing => self.close(source, "truncated", false)?,
            Turn::Drained => self.call_heir(source),
            Turn::Replaced => {
                let identity = generation.identity;
                tracing::warn!(path = %generation.at.display(), position = generation.position(), "the file was truncated");
                self.close(source, "truncated", false)?;
                self.truncated.insert(identity, source);
                self.walk_asked = true;
            }
            Turn::Ended => self.close(source, "rotated", true)?,
            Turn::Elsewhere => self.walk_asked = true,
            Turn::Trouble(error) => self.report(source, &error),
        }
        Ok(())
    }

    fn close(&mut self, source: SourceId, reason: &'static str, remember: bool) -> Result<(), Stopped> {
        let (mut reason, mut remember) = (reason, remember);
        if reason != "truncated"
            && let Some(copy) = self.take_twin(source)
        {
            self.becomes(source, &copy)?;
            (reason, remember) = ("rotated", true);
        }
        let lent = self.lent_to(source);
        let Some(generation) = self.remove(source) else { return Ok(()) };
        if let Some(heir) = self.heirs.remove(&source) {
            self.enqueue(heir);
        }
        if let Some(place) = generation.close(reason, remember, &lent, &self.context)? {
            self.ended.insert(place.identity, Ended { source, place, walk: self.walks, missing: None });
        }
        Ok(())
    }

    /// Takes what has waited for its end long enough as complete.
    fn cut_aged(&mut self) -> Result<(), Stopped> {
        let now = Instant::now();
        let mut heirs = Vec::new();
        for source in std::mem::take(&mut self.pending) {
            let Some(generation) = self.generations.get_mut(&source) else { continue };
            match generation.cut_due(&self.context) {
                Some(due) if due > now || generation.queued => self.pending.push(source),
                Some(_) => {
                    let waited = generation.batch_since().is_some();
                    generation.cut(&self.context)?;
                    if let Some(heir) = self.heirs.get(&source).copied() {
                        heirs.push(heir);
                    }
                    if generation.cut_due(&self.context).is_some() {
                        self.pending.push(source);
                    }
                    if !waited && let Some(since) = generation.batch_since() {
                        self.begun.push(source);
                        self.batch_due.get_or_insert(since + self.context.shared.limits.age);
                    }
                }
                None => {}
            }
        }
        for heir in heirs {
            self.enqueue(heir);
        }
        Ok(())
    }

    /// Ships batches that have waited long enough; says when the next is due.
    fn seal_aged(&mut self) -> Result<Option<Duration>, Stopped> {
        let (age, now) = (self.context.shared.limits.age, Instant::now());
        let Some(due) = self.batch_due else { return Ok(None) };
        if now < due {
            return Ok(Some(due - now));
        }
        self.batch_due = None;
        for source in std::mem::take(&mut self.begun) {
            let Some(generation) = self.generations.get_mut(&source) else { continue };
            let Some(since) = generation.batch_since() else { continue };
            let mut due = since + age;
            if due <= now {
                generation.seal(&self.context)?;
                if generation.batch_since().is_none() {
                    continue;
                }
                due = now + age;
            }
            self.batch_due = Some(self.batch_due.map_or(due, |earlier| earlier.min(due)));
            self.begun.push(source);
        }
        Ok(self.batch_due.map(|due| due - now))
    }

    /// Once a file and kind of trouble; counted each time.
    fn report(&mut self, source: SourceId, error: &io::Error) {
        self.context.shared.metrics.source_error(kind_of(error));
        let Some(generation) = self.generations.get_mut(&source) else { return };
        if generation.trouble.replace(error.kind()) != Some(error.kind()) {
            tracing::warn!(path = %generation.at.display(), %error, "the file cannot be read; it is tried again");
        }
    }

    fn report_path(&mut self, path: &Path, error: &io::Error) {
        self.context.shared.metrics.source_error(kind_of(error));
        if self.troubles.insert(path.to_owned(), error.kind()) != Some(error.kind()) {
            tracing::warn!(path = %path.display(), %error, "cannot be read; it is tried again");
        }
    }

    /// Ships what is in hand, as far as there is room for it.
    fn finish(&mut self) {
        for generation in self.generations.values_mut() {
            if generation.seal(&self.context).is_err() {
                return;
            }
        }
    }

    /// Tells the shipper of new sources.
    fn open_all(&self, opened: Vec<(SourceId, Entry)>) -> Result<(), Stopped> {
        if opened.is_empty() { Ok(()) } else { self.context.shared.tell(Reading::Opened(opened)) }
    }
}

/// The name of an error in metrics.
fn kind_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "unreadable",
        io::ErrorKind::NotFound => "vanished",
        _ => "failed",
    }
}
