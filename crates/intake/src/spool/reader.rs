//! Reads a spool's records in the order of their numbers, as far as they are on the disk, and says which numbers have none.

use super::{
    Error, Segment, Shared, frame, open,
    walk::{Step, Walker},
};
use std::{fs::File, ops::Range, path::PathBuf, sync::Arc};

/// What comes next in a spool.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A record.
    Record {
        /// Its number.
        number: u64,
        /// What was appended.
        payload: &'a [u8],
    },
    /// Numbers without a record.
    Lost {
        /// Which.
        numbers: Range<u64>,
        /// Something lay there that could not be read.
        damaged: bool,
    },
}

/// One who reads a spool. It keeps the segment open that it is in: what is removed behind it is no loss to it.
pub struct Reader {
    shared: Arc<Shared>,
    next: u64,
    open: Option<Open>,
}

struct Open {
    base: u64,
    walker: Walker,
    damaged: bool,
}

/// What is known of the segment being read.
struct View {
    /// Bytes that may be read.
    limit: u64,
    /// The number after its last.
    upper: u64,
    /// Nothing more will be written to it.
    ended: bool,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, from: u64) -> Self {
        Self { shared, next: from, open: None }
    }

    /// The number that it goes on with.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// The next record or gap; `None`: nothing more is there yet. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read; asked again, it tries again.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, Error> {
        let found = loop {
            let Some(open) = &mut self.open else {
                if !self.enter()? {
                    return Ok(None);
                }
                continue;
            };
            let view = view(&self.shared, open)?;
            let step = match open.walker.step(view.limit) {
                Ok(step) => step,
                Err(error) => return Err(Error::at(&path(&self.shared, open.base), "read it")(error)),
            };
            match step {
                Step::Damaged | Step::Frame { payload: None, .. } => open.damaged = true,
                Step::Frame { header, payload: Some(payload) } => {
                    // What lies outside is no frame of this place.
                    if header.end() <= self.next || header.end() > view.upper {
                        continue;
                    }
                    if header.number > self.next {
                        // The frame is taken again after the gap.
                        open.walker.back(header.total());
                        break Found::Lost(header.number);
                    }
                    self.next = header.end();
                    break Found::Record(header.number, payload);
                }
                Step::End if self.next < view.upper => {
                    // At the end of the last segment there is nothing to come for these either: `upper` and `limit` are of one moment.
                    break Found::Lost(view.upper);
                }
                Step::End if view.ended => self.open = None,
                Step::End => return Ok(None),
            }
        };
        Ok(Some(self.give(found)))
    }

    fn give(&mut self, found: Found) -> Item<'_> {
        match found {
            Found::Lost(to) => {
                let numbers = self.next..to;
                self.next = to;
                let damaged = self.open.as_mut().is_some_and(|open| std::mem::take(&mut open.damaged));
                Item::Lost { numbers, damaged }
            }
            Found::Record(number, payload) => {
                let payload = self.open.as_ref().map(|open| open.walker.payload(payload)).unwrap_or_default();
                Item::Record { number, payload }
            }
        }
    }

    /// Opens the segment that the next number lies in, or else the next one after it; `false`: there is nothing to read.
    fn enter(&mut self) -> Result<bool, Error> {
        loop {
            let Some(segment) = self.segment() else { return Ok(false) };
            match File::open(&segment.path) {
                Ok(file) => {
                    let walker = Walker::new(file, frame::seed(self.shared.id));
                    self.open = Some(Open { base: segment.base, walker, damaged: false });
                    return Ok(true);
                }
                // Removed just now to make room: the one after it is the first then.
                Err(_) if self.segment().is_none_or(|now| now.base != segment.base) => {}
                Err(error) => return Err(Error::at(&segment.path, "open it")(error)),
            }
        }
    }

    fn segment(&self) -> Option<Segment> {
        let state = self.shared.lock();
        if self.next >= state.end {
            return None;
        }
        let after = state.segments.partition_point(|segment| segment.base <= self.next);
        state.segments.get(after.saturating_sub(1)).cloned()
    }
}

enum Found {
    Record(u64, Range<usize>),
    Lost(u64),
}

fn path(shared: &Shared, base: u64) -> PathBuf {
    shared.folder.join(open::file_name(base))
}

fn view(shared: &Shared, open: &Open) -> Result<View, Error> {
    let state = shared.lock();
    let at = state.segments.partition_point(|segment| segment.base < open.base);
    let listed = state.segments.get(at).filter(|segment| segment.base == open.base);
    let next = state.segments.get(at + usize::from(listed.is_some()));
    let upper = next.map_or(state.end, |segment| segment.base);
    let limit = match listed {
        Some(segment) => segment.committed,
        // Removed while it is read: it was whole, for something was written behind it.
        None => open.walker.length().map_err(Error::at(&path(shared, open.base), "read its size"))?,
    };
    Ok(View { limit, upper, ended: next.is_some() })
}
