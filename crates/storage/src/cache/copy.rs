//! What lies on this machine of one bundle: some blocks of it, or all, in one file. Knows which, and who is bringing more.

use super::blocks::{blocks_of, count, length, place};
use std::{
    fmt,
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

/// At most two to the power of this many blocks are brought where one is missing: 8 MiB.
const WIDEST: u32 = 5;

/// See the module. Any number of readers share it.
pub(crate) struct LocalCopy {
    /// Its file's name once it is whole.
    pub(super) name: String,
    /// How large the bundle is.
    pub(crate) size: u64,
    /// When it was used last, in uses of the cache.
    pub(super) used: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Absent,
    Coming,
    There,
}

struct State {
    /// Open while somebody reads.
    file: Option<Arc<File>>,
    /// Where the file lies; `None`: there is none.
    path: Option<PathBuf>,
    blocks: Vec<Block>,
    there: usize,
    /// How often something was missing: the more often, the more is brought at once.
    errands: u32,
    /// Raised when everything goes: what was on its way then belongs to a life that is over.
    life: u64,
}

/// What a reader is told of the blocks that it wants.
pub(crate) enum Claim<'c> {
    /// They are in this file, but for those that it has itself.
    There(Option<Arc<File>>),
    /// It is to bring these; others bring the rest.
    Bring(Errand<'c>),
}

/// Blocks that one reader brings while others wait for them. Dropped: they may be brought by another.
pub(crate) struct Errand<'c> {
    copy: &'c LocalCopy,
    life: u64,
    /// The blocks, neighbours together.
    pub(crate) runs: Vec<Range<usize>>,
}

impl fmt::Debug for LocalCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCopy")
            .field("name", &self.name)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl LocalCopy {
    /// Nothing yet.
    pub(crate) fn nothing(name: String, size: u64) -> Self {
        Self::of(name, size, None, Block::Absent)
    }

    /// A whole file.
    pub(super) fn whole(name: String, size: u64, path: PathBuf) -> Self {
        Self::of(name, size, Some(path), Block::There)
    }

    fn of(name: String, size: u64, path: Option<PathBuf>, block: Block) -> Self {
        let blocks = vec![block; count(size)];
        let there = if block == Block::There { blocks.len() } else { 0 };
        let state = Mutex::new(State { file: None, path, blocks, there, errands: 0, life: 0 });
        Self { name, size, used: AtomicU64::new(0), state, changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the blocks around a range, but for those that the reader `has`. Waits while all that is missing is on its
    /// way to others. Where something is missing, neighbours are asked for with it: twice as many each time, so that a
    /// bundle of which much is read comes by few requests.
    ///
    /// # Errors
    /// The file cannot be opened again: it was taken away, or the disk fails.
    pub(crate) fn claim(&self, range: &Range<u64>, has: impl Fn(usize) -> bool) -> io::Result<Claim<'_>> {
        let wanted = blocks_of(range);
        let mut state = self.lock();
        loop {
            let mut runs: Vec<Range<usize>> = Vec::new();
            let mut coming = false;
            for number in wanted.clone().filter(|number| !has(*number)) {
                match state.blocks[number] {
                    Block::There => {}
                    Block::Coming => coming = true,
                    Block::Absent => match runs.last_mut().filter(|run| run.end == number) {
                        Some(run) => run.end += 1,
                        None => runs.push(number..number + 1),
                    },
                }
            }
            if !runs.is_empty() {
                let window = 1 << state.errands.min(WIDEST);
                state.errands += 1;
                for run in &mut runs {
                    state.widen(run, window, &has);
                }
                // Neighbours that two of them have in common are the first one's.
                for second in 1..runs.len() {
                    let end = runs[second - 1].end;
                    runs[second].start = runs[second].start.max(end);
                }
                runs.retain(|run| !run.is_empty());
                for number in runs.iter().cloned().flatten() {
                    state.blocks[number] = Block::Coming;
                }
                return Ok(Claim::Bring(Errand { copy: self, life: state.life, runs }));
            }
            if !coming {
                return Ok(Claim::There(state.open()?));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Is everything in the file?
    pub(crate) fn is_whole(&self) -> bool {
        let state = self.lock();
        state.there == state.blocks.len()
    }

    /// Says that it was used now to those that read the folder after a restart.
    #[expect(clippy::disallowed_methods, reason = "what the file system is told, which keeps its own time")]
    pub(crate) fn stamp(&self) {
        if self.is_whole()
            && let Ok(Some(file)) = self.lock().open()
            && let Err(error) = file.set_modified(SystemTime::now())
        {
            tracing::debug!(name = self.name, %error, "a copy's time of use is not kept");
        }
    }

    /// Closes the file: nobody reads for now.
    pub(super) fn close(&self) {
        self.lock().file = None;
    }

    /// Everything goes. Whoever has the file open keeps its content. Returns the number of the life that begins.
    pub(crate) fn clear(&self) -> u64 {
        let mut state = self.lock();
        state.life += 1;
        state.file = None;
        state.there = 0;
        state.errands = 0;
        state.blocks.fill(Block::Absent);
        if let Some(path) = state.path.take() {
            remove(&path);
        }
        let life = state.life;
        drop(state);
        self.changed.notify_all();
        life
    }

    /// Makes a whole file durable and gives it its name, under which it is found after a restart. Blocks.
    pub(crate) fn settle(&self, folder: &Path) {
        let (file, life) = {
            let mut state = self.lock();
            (state.open().ok().flatten(), state.life)
        };
        let Some(file) = file else { return };
        let synced = file.sync_data();
        let mut state = self.lock();
        if state.life != life || state.there < state.blocks.len() {
            return;
        }
        let path = folder.join(&self.name);
        let named = synced.and_then(|()| match &state.path {
            Some(partial) if *partial != path => fs::rename(partial, &path),
            _ => Ok(()),
        });
        match named {
            Ok(()) => state.path = Some(path),
            Err(error) => tracing::debug!(name = self.name, %error, "a copy will not outlive this process"),
        }
    }
}

impl State {
    /// Takes in absent neighbours, within windows of so many blocks.
    fn widen(&self, run: &mut Range<usize>, window: usize, has: impl Fn(usize) -> bool) {
        let first = run.start / window * window;
        let end = run.end.next_multiple_of(window).min(self.blocks.len());
        let free = |number: usize| self.blocks[number] == Block::Absent && !has(number);
        while run.start > first && free(run.start - 1) {
            run.start -= 1;
        }
        while run.end < end && free(run.end) {
            run.end += 1;
        }
    }

    fn open(&mut self) -> io::Result<Option<Arc<File>>> {
        if let (None, Some(path)) = (&self.file, &self.path) {
            self.file = Some(Arc::new(File::options().read(true).write(true).open(path)?));
        }
        Ok(self.file.clone())
    }
}

impl Errand<'_> {
    /// The life of the copy that this belongs to.
    pub(crate) fn life(&self) -> u64 {
        self.life
    }

    /// Writes blocks that have come; `partial` names the file if there is none yet. `None`: they came too late, and are
    /// not kept. `Some(true)`: with these the copy is whole.
    pub(super) fn keep(&self, run: &Range<usize>, bytes: &[u8], partial: &Path) -> io::Result<Option<bool>> {
        let copy = self.copy;
        let file = {
            let mut state = copy.lock();
            if state.life != self.life {
                return Ok(None);
            }
            if state.path.is_none() {
                let file = File::options().read(true).write(true).create_new(true).open(partial)?;
                (state.file, state.path) = (Some(Arc::new(file)), Some(partial.to_owned()));
            }
            state.open()?
        };
        let Some(file) = file else { return Ok(None) };
        file.write_all_at(bytes, place(run, copy.size).start)?;
        let mut state = copy.lock();
        if state.life != self.life {
            return Ok(None);
        }
        for number in run.clone() {
            if state.blocks[number] != Block::There {
                state.blocks[number] = Block::There;
                state.there += 1;
            }
        }
        let whole = state.there == state.blocks.len();
        drop(state);
        copy.changed.notify_all();
        Ok(Some(whole))
    }

    /// How many bytes a run has.
    pub(super) fn length(&self, run: &Range<usize>) -> u64 {
        length(run, self.copy.size)
    }
}

impl Drop for Errand<'_> {
    fn drop(&mut self) {
        let mut state = self.copy.lock();
        if state.life == self.life {
            for number in self.runs.iter().cloned().flatten() {
                if state.blocks[number] == Block::Coming {
                    state.blocks[number] = Block::Absent;
                }
            }
        }
        drop(state);
        self.copy.changed.notify_all();
    }
}

impl Drop for LocalCopy {
    fn drop(&mut self) {
        // What is not whole, or has not got its name yet, would be removed at the next start.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = state.path.take()
            && path.file_name().is_none_or(|name| *name != *self.name)
        {
            remove(&path);
        }
    }
}

impl LocalCopy {
    /// Marks a use.
    pub(super) fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }
}

pub(super) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a copy of a bundle cannot be removed");
        }
        _ => {}
    }
}
