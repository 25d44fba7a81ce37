//! One partition on disk: segment files in the order of their offsets, and what is known of them.
//!
//! Opening checks the last segment block by block (a crash can only have hurt that one) and cuts a torn end off. Older
//! segments are indexed, from their block headers, when they are first read. **Invariant:** an offset is never given
//! twice: what a cut block claimed stays a gap, and so does what groups have read of an end that is gone.

use super::segment::{Index, Segment, Step, Walker};
use crate::{Error, metrics::TopicMetrics, sync::lock};
use millrace_model::Partition;
use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// A partition's segments.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) partition: Partition,
    pub(crate) directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// By base offset; the last one is being written. Never empty.
    segments: VecDeque<Arc<Segment>>,
    /// The offset of the next message that readers will see.
    end: i64,
}

/// What the last segment was found to hold.
struct Checked {
    index: Index,
    /// Bytes up to the end of the last sound block.
    sound: u64,
    /// The offset after everything that any header claims.
    end: i64,
    /// Damage that lies before a sound block.
    damaged: u64,
}

impl Log {
    /// Makes a new partition's first segment, which has nothing in it. Blocks.
    pub(crate) fn begin(directory: &Path) -> Result<PathBuf, Error> {
        create(directory, 0).map(|(_, path)| path)
    }

    /// Opens a partition's folder, which exists. Blocks on the last segment's bytes, at most 16 MB and a block.
    pub(crate) fn open(
        directory: PathBuf,
        partition: Partition,
        metrics: &TopicMetrics,
    ) -> Result<Self, Error> {
        let mut segments = Self::list(&directory)?;
        let last = if let Some(last) = segments.pop() {
            last
        } else {
            let path = directory.display();
            tracing::error!(%path, "no segment file is there: all messages of the partition are gone");
            (0, create(&directory, 0)?.1)
        };
        let mut kept = VecDeque::with_capacity(segments.len() + 1);
        for (base, path) in segments {
            let length = fs::metadata(&path).map_err(file_error(&path, "read its size"))?.len();
            kept.push_back(Arc::new(Segment::new(base, path, length, None)));
        }
        let (base, path) = last;
        let checked = check(&path, base, metrics)?;
        kept.push_back(Arc::new(Segment::new(base, path, checked.sound, Some(checked.index))));
        let state = State { segments: kept, end: checked.end };
        Ok(Self { partition, directory, state: Mutex::new(state) })
    }

    fn list(directory: &Path) -> Result<Vec<(i64, PathBuf)>, Error> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(directory).map_err(file_error(directory, "list it"))? {
            let path = entry.map_err(file_error(directory, "list it"))?.path();
            if let Some(base) = Segment::base_of(&path) {
                segments.push((base, path));
            } else {
                tracing::warn!(path = %path.display(), "not a segment file; left alone");
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }

    /// The earliest offset that may still be there.
    pub(crate) fn low(&self) -> i64 {
        lock(&self.state).segments.front().map_or(0, |segment| segment.base)
    }

    /// The offset that the next message will have.
    pub(crate) fn end(&self) -> i64 {
        lock(&self.state).end
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.state).segments.iter().map(|segment| segment.committed()).sum()
    }

    /// All segments, by base offset.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        lock(&self.state).segments.iter().map(Arc::clone).collect()
    }

    /// The segment being written.
    pub(crate) fn active(&self) -> Arc<Segment> {
        let state = lock(&self.state);
        #[expect(
            clippy::expect_used,
            reason = "opening puts one in, and only others than the last are taken out"
        )]
        Arc::clone(state.segments.back().expect("a partition has a segment"))
    }

    /// The segment that holds `offset`, or else the next one after it.
    pub(crate) fn segment_of(&self, offset: i64) -> Option<Arc<Segment>> {
        let state = lock(&self.state);
        let after = state.segments.partition_point(|segment| segment.base <= offset);
        state.segments.get(after.saturating_sub(1)).cloned()
    }

    /// The segment after the one with this base.
    pub(crate) fn segment_after(&self, base: i64) -> Option<Arc<Segment>> {
        let state = lock(&self.state);
        let after = state.segments.partition_point(|segment| segment.base <= base);
        state.segments.get(after).cloned()
    }

    /// Lets readers see everything before `end`.
    pub(crate) fn publish(&self, end: i64) {
        lock(&self.state).end = end;
    }

    /// Moves the end on to an offset that lies behind it: what was read up to there is not given out again. Was it before?
    pub(crate) fn raise(&self, offset: i64) -> bool {
        let mut state = lock(&self.state);
        let short = state.end < offset;
        state.end = state.end.max(offset);
        short
    }

    /// Starts a new segment at the end; the writer's file from here on.
    pub(crate) fn roll(&self) -> Result<(Arc<Segment>, File), Error> {
        let base = self.end();
        let (file, path) = create(&self.directory, base)?;
        let segment = Arc::new(Segment::new(base, path, 0, Some(Index::default())));
        lock(&self.state).segments.push_back(Arc::clone(&segment));
        Ok((segment, file))
    }

    /// The oldest segment and the offset where it ends, unless it is the one being written.
    pub(crate) fn oldest(&self) -> Option<(Arc<Segment>, i64)> {
        let state = lock(&self.state);
        let next = state.segments.get(1)?.base;
        Some((Arc::clone(state.segments.front()?), next))
    }

    /// Deletes the oldest segment, which must be `segment`. A reader that has it open reads on.
    pub(crate) fn delete(&self, segment: &Arc<Segment>) -> Result<(), Error> {
        {
            let mut state = lock(&self.state);
            if state.segments.len() < 2
                || !state.segments.front().is_some_and(|front| Arc::ptr_eq(front, segment))
            {
                return Ok(());
            }
            state.segments.pop_front();
        }
        fs::remove_file(&segment.path).map_err(file_error(&segment.path, "delete it"))
    }
}

/// Makes an empty segment file that survives a crash of the machine.
fn create(directory: &Path, base: i64) -> Result<(File, PathBuf), Error> {
    let path = directory.join(Segment::file_name(base));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(file_error(&path, "create it"))?;
    File::open(directory).and_then(|folder| folder.sync_all()).map_err(file_error(directory, "sync it"))?;
    Ok((file, path))
}

/// Reads the last segment through, and cuts a torn end off its file.
fn check(path: &Path, base: i64, metrics: &TopicMetrics) -> Result<Checked, Error> {
    let length = fs::metadata(path).map_err(file_error(path, "read its size"))?.len();
    let mut walker = Walker::whole(path)?;
    let mut checked = Checked { index: Index::default(), sound: 0, end: base, damaged: 0 };
    let mut damaged = 0;
    loop {
        match walker.step(length, true).map_err(|source| walker.error(source))? {
            Step::Block { header, position, payload } => {
                // What a header claims is never given out again, even if its payload is torn.
                let in_order = header.first >= checked.end;
                checked.end = checked.end.max(header.end());
                if in_order && header.holds(&payload) {
                    checked.index.add(&header, position);
                    checked.sound = position + header.total();
                    checked.damaged += std::mem::take(&mut damaged);
                } else {
                    damaged += 1;
                }
            }
            Step::Damaged { .. } => damaged += 1,
            Step::End => break,
        }
    }
    if checked.damaged > 0 {
        metrics.corrupt_blocks.inc_by(checked.damaged);
        tracing::error!(
            path = %path.display(),
            blocks = checked.damaged,
            "damaged blocks inside a segment: their messages are lost, the ones around them are not"
        );
    }
    if checked.sound < length {
        let cut_bytes = length - checked.sound;
        metrics.cut_bytes.inc_by(cut_bytes);
        tracing::warn!(
            path = %path.display(),
            cut_bytes,
            "the segment's end is no whole message and is cut off: torn by a crash, then nothing in it had been \
             acknowledged; or damaged since, then the audit shows what is missing"
        );
        let file = OpenOptions::new().write(true).open(path).map_err(file_error(path, "open it"))?;
        file.set_len(checked.sound).and_then(|()| file.sync_all()).map_err(file_error(path, "cut it"))?;
    }
    Ok(checked)
}

/// For `map_err`: what was tried with which path.
pub(crate) fn file_error(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { path, action, source }
}

#[cfg(test)]
mod tests;
