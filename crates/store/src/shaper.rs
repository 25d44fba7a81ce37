//! Finds the shape of each record as it comes: cuts its line, looks for a known shape that fits, makes one where none
//! does. It keeps what it has met lately, within bounds; what it forgets is made again.
//!
//! One shaper serves any number of hot shards; it is used by one writer at a time.

use crate::{
    shape::{Bound, CutLine, Shape},
    strings::Strings,
};
use hashbrown::HashMap;
use millrace_model::{LogRecord, Timestamp, Value};
use millrace_template::{Canonical, Cover, FREE_TEXT, Merge, Miner, Scan, TemplateId};
use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Masks that are kept; when there are more, all are forgotten.
const MAX_MASKS: usize = 16_384;
/// Shapes of one mask; beyond, records are kept whole.
const MAX_SHAPES_A_MASK: usize = 32;
/// Constant text longer than this is not worth keeping apart, in bytes.
const MAX_MASK: usize = 8 << 10;

/// See the module. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Shaper {
    state: Arc<Mutex<State>>,
}

impl Shaper {
    /// One that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A shaper that panicked half way knows less than it could; what it gives is checked record by record.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The merges of masks that are known here, learned or taken over, and of these `wanted`; at most so many. Appends
    /// wait for one look at each.
    pub fn merges(&self, mut wanted: impl FnMut(TemplateId) -> bool, most: usize) -> Vec<Merge> {
        let state = self.lock();
        state.miner.merges().filter(|merge| wanted(merge.id)).take(most).cloned().collect()
    }

    /// Takes over a merged mask of another node. Masks that were met before are kept as they were: how a record is kept
    /// does not show in what it is. Appends wait for the one mask.
    pub fn absorb(&self, merge: &[u8]) {
        self.lock().miner.absorb(merge);
    }

    /// How many records were kept whole, body and attributes side by side: the line is not cut, or its constant text is
    /// long, or no shape gives the record back byte for byte, or there are too many shapes already.
    pub fn kept_whole(&self) -> u64 {
        self.lock().kept_whole
    }
}

/// The records of one mask.
#[derive(Debug)]
struct Family {
    mask: Box<[u8]>,
    /// The one that fitted last comes first.
    shapes: Vec<Arc<Shape>>,
}

/// What becomes of the lines of a mask.
#[derive(Debug)]
struct Known {
    family: usize,
    /// Where they are kept under a merged mask.
    cover: Option<Cover>,
}

/// What a shaper knows, and its scratch space.
#[derive(Debug, Default)]
pub(crate) struct State {
    scan: Scan,
    miner: Miner,
    families: Vec<Family>,
    /// By the line's own mask.
    by_mask: HashMap<Box<[u8]>, Known>,
    /// By the mask that they are kept under, a line's own or a merged one.
    by_family: HashMap<Box<[u8]>, usize>,
    merged: Vec<Range<u32>>,
    bound: Bound,
    /// The values of the records that were taken since whoever takes them has cleared it.
    pub(crate) values: Strings,
    kept_whole: u64,
}

/// How a record is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// By a shape of its own kind.
    Close,
    /// Whole, body and attributes side by side.
    Loose,
}

impl State {
    /// Gives the record's shape, and appends the values of its slots to [`Self::values`]. Where no close fit is wanted, the
    /// record is kept whole.
    pub(crate) fn take(&mut self, record: &LogRecord, time: Timestamp, fit: Fit) -> (Arc<Shape>, Fit) {
        let text = match &record.body {
            Value::String(text) => text.as_str(),
            _ => "",
        };
        if fit == Fit::Close
            && let Some(shape) = self.close(record, time, text)
        {
            return (shape, Fit::Close);
        }
        self.kept_whole += 1;
        let everything = Range { start: 0, end: text.len() as u32 };
        let line = CutLine { text, variables: std::slice::from_ref(&everything) };
        let family = self.family(FREE_TEXT);
        let state = &mut *self;
        let known = &mut state.families[family];
        let found = known.shapes.iter().position(|shape| shape.bind(record, time, line, &mut state.bound));
        let shape = if let Some(at) = found {
            Arc::clone(&known.shapes[at])
        } else {
            let shape = Arc::new(Shape::loose(record, time));
            // A loose shape fits by what it is made of; there are few of them.
            let fits = shape.bind(record, time, line, &mut state.bound);
            debug_assert!(fits, "a loose shape fits its record");
            known.shapes.push(Arc::clone(&shape));
            shape
        };
        state.bound.put(&shape, line, &mut state.values);
        (shape, Fit::Loose)
    }

    fn close(&mut self, record: &LogRecord, time: Timestamp, text: &str) -> Option<Arc<Shape>> {
        self.scan.line(text);
        if self.scan.mask().len() > MAX_MASK || self.scan.mask() == FREE_TEXT {
            return None;
        }
        if !self.by_mask.contains_key(self.scan.mask()) {
            self.meet();
        }
        let state = &mut *self;
        let Known { family, cover } = state.by_mask.get(state.scan.mask())?;
        let known = &mut state.families[*family];
        let variables = match cover {
            None => state.scan.variables(),
            Some(cover) => {
                if !cover.variables(state.scan.variables(), &mut state.merged) {
                    return None;
                }
                &state.merged
            }
        };
        let line = CutLine { text, variables };
        if let Some(at) =
            known.shapes.iter().position(|shape| shape.bind(record, time, line, &mut state.bound))
        {
            known.shapes.swap(0, at);
        } else {
            if known.shapes.len() >= MAX_SHAPES_A_MASK {
                return None;
            }
            let shape = Shape::of(record, time, &known.mask, line, known.shapes.first().map(Arc::as_ref));
            if shape.mask().is_some_and(|mask| *mask.text != *known.mask)
                || !shape.bind(record, time, line, &mut state.bound)
            {
                return None;
            }
            known.shapes.insert(0, Arc::new(shape));
        }
        let shape = Arc::clone(&known.shapes[0]);
        state.bound.put(&shape, line, &mut state.values);
        Some(shape)
    }

    /// A mask that is not known: the miner says which family it belongs to.
    fn meet(&mut self) {
        if self.by_mask.len() >= MAX_MASKS {
            self.by_mask.clear();
            self.by_family.clear();
            self.families.clear();
        }
        let own: Box<[u8]> = self.scan.mask().into();
        let merged = match self.miner.learn(&own) {
            Canonical::Itself => None,
            Canonical::Merged(merge) => {
                Cover::new(&merge.mask, &own).map(|cover| (merge.mask.clone(), cover))
            }
        };
        let (family, cover) = match merged {
            None => (self.family(&own), None),
            Some((mask, cover)) => (self.family(&mask), Some(cover)),
        };
        self.by_mask.insert(own, Known { family, cover });
    }

    fn family(&mut self, mask: &[u8]) -> usize {
        if let Some(family) = self.by_family.get(mask) {
            return *family;
        }
        let family = self.families.len();
        self.families.push(Family { mask: mask.into(), shapes: Vec::new() });
        self.by_family.insert(mask.into(), family);
        family
    }
}
