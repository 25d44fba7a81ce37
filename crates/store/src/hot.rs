//! Hot rows: records that are not sealed yet, searchable from the moment they are appended. It owns no thread and no
//! file: the topic is its write-ahead log. A row is its shape and the values of the shape's slots, which takes a fraction
//! of the record's room. Rows lie in blocks that never change once somebody looks at them, so a search holds no lock.

mod scan;
mod search;

use crate::{
    FieldRules,
    bytes::Malformed,
    plan::{Origin, RowView},
    shape::{Line, RowFacts, Shape, Slots, same_attributes},
    shaper::{self, Fit, Shaper},
    strings::Strings,
};
use hashbrown::HashMap;
use millrace_filter::Text;
use millrace_model::{
    Attributes, Partition, RecordId, Row, ShardFields, SourceId, StreamName, TimeRange, Timestamp,
    declared::take_words,
};
use std::{
    cell::OnceCell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Small appends are gathered into blocks of about this many rows.
const BLOCK_ROWS: usize = 4096;
/// Shapes of one shard; the records of further ones are kept whole.
const MAX_SHAPES: usize = 8192;

/// A row and the message that brought it.
#[derive(Debug, Clone, PartialEq)]
pub struct HotRow {
    /// The partition of that message.
    pub partition: Partition,
    /// Its offset.
    pub offset: i64,
    /// The row.
    pub row: Row,
}

/// A row in its block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) time: Timestamp,
    pub(crate) observed: Timestamp,
    pub(crate) position: u64,
    pub(crate) index: u32,
    /// Which of the shard's origins.
    pub(crate) origin: u32,
    /// Which of the shard's shapes.
    pub(crate) shape: u32,
    /// The first of its values in the block.
    values: u32,
    pub(crate) partition: Partition,
    pub(crate) offset: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) heads: Vec<Head>,
    values: Strings,
    first: Timestamp,
    last: Timestamp,
    /// The highest of its rows' offsets.
    last_offset: i64,
}

impl Block {
    fn new() -> Self {
        Self {
            heads: Vec::new(),
            values: Strings::default(),
            first: Timestamp::MAX,
            last: Timestamp::MIN,
            last_offset: i64::MIN,
        }
    }

    fn weight(&self) -> usize {
        self.heads.len() * size_of::<Head>() + self.values.byte_len() + self.values.len() * size_of::<u32>()
    }

    fn extend(&mut self, other: &Self) {
        let values = self.values.len() as u32;
        self.heads.extend(other.heads.iter().map(|head| Head { values: head.values + values, ..*head }));
        self.values.extend_from(&other.values);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.last_offset = self.last_offset.max(other.last_offset);
    }
}

/// The values of one row.
pub(crate) struct HotSlots<'a> {
    values: &'a Strings,
    first: usize,
    /// What the filter's texts have found in all values of the block, by leaf.
    found: &'a [OnceCell<bool>],
}

impl Slots for HotSlots<'_> {
    fn slot(&self, number: usize) -> &[u8] {
        self.values.get(self.first + number)
    }

    fn may_hold(&self, text: &Text, leaf: usize) -> bool {
        let found = self.found.get(leaf);
        found.is_none_or(|found| *found.get_or_init(|| text.may_match_within(self.values.bytes())))
    }
}

/// What rows of a shard share, by number.
#[derive(Debug, Clone, Default)]
struct Shared {
    shapes: Vec<Arc<Shape>>,
    origins: Vec<Origin>,
}

#[derive(Debug, Default)]
struct State {
    stream: StreamName,
    blocks: Vec<Arc<Block>>,
    shared: Arc<Shared>,
    rows: usize,
    weight: usize,
    fields: Arc<ShardFields>,
}

/// The numbers of shapes and origins, for the writer alone.
#[derive(Debug, Default)]
struct Numbers {
    /// By where the shape lies; the shard's list keeps it alive.
    shapes: HashMap<usize, u32>,
    origins: HashMap<SourceId, Vec<u32>>,
    last: Option<(SourceId, Arc<Attributes>, u32)>,
}

/// Rows that did not keep to the rules of their fields. Nothing of them is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unruly {
    /// Values of another type than is declared.
    pub conflicts: u64,
    /// Rows with more names of fields than there is room for.
    pub beyond: u64,
}

/// The rows of one stream and bucket, in the order in which they came. Shared by the writer that appends and any
/// number of searches.
#[derive(Debug, Default)]
pub struct HotShard {
    shaper: Shaper,
    rules: FieldRules,
    numbers: Mutex<Numbers>,
    state: Mutex<State>,
}

impl HotShard {
    /// One without rows. Shards that share a shaper find each other's shapes; those of one stream and bucket share rules.
    pub fn new(shaper: &Shaper, rules: &FieldRules) -> Self {
        let state = State { fields: Arc::new(rules.fields()), ..State::default() };
        Self { shaper: shaper.clone(), rules: rules.clone(), state: Mutex::new(state), ..Self::default() }
    }

    /// Adds rows, declared fields coerced; the next [`HotShard::snapshot`] has them. All rows of a shard are of one stream.
    /// Searches wait for a move of the rows at most. Returns what did not keep to the rules.
    pub fn append(&self, mut rows: Vec<HotRow>) -> Unruly {
        let mut fields = ShardFields::default();
        for hot in &mut rows {
            take_words(&mut hot.row.record.attributes);
            self.rules.declared().coerce(&mut hot.row.record.attributes, |field| {
                *fields.conflicts.entry(field.to_owned()).or_default() += 1;
            });
        }
        let Some(first) = rows.first() else { return Unruly::default() };
        let stream = first.row.stream.clone();
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shared = Arc::clone(&self.lock().shared);
        let mut shaper = self.shaper.lock();
        let mut block = take(&rows, &self.rules, &mut shaper, &mut numbers, &mut shared, &mut fields.beyond);
        let unruly = Unruly { conflicts: fields.conflicts.values().sum(), beyond: fields.beyond };
        let weight = block.weight();
        let mut state = self.lock();
        state.stream = stream;
        state.shared = shared;
        state.rows += rows.len();
        state.weight += weight;
        if unruly != Unruly::default() {
            Arc::make_mut(&mut state.fields).add(&fields);
        }
        // A block that a snapshot holds is left as it is: `get_mut` says so.
        if let Some(last) = state.blocks.last_mut()
            && last.heads.len() + rows.len() <= BLOCK_ROWS
            && let Some(last) = Arc::get_mut(last)
        {
            last.extend(&block);
            shaper.values = block.values;
        } else {
            // The block keeps a copy of its values' own size, the shaper its room.
            let values = block.values.clone();
            shaper.values = std::mem::replace(&mut block.values, values);
            state.blocks.push(Arc::new(block));
        }
        unruly
    }

    /// About how many bytes the rows hold in memory.
    pub fn weight(&self) -> usize {
        self.lock().weight
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.lock().rows
    }

    /// No rows at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows as they are now. Costs a reference count for each few thousand rows; later appends do not show in it.
    pub fn snapshot(&self) -> HotRows {
        let state = self.lock();
        HotRows {
            stream: state.stream.clone(),
            blocks: state.blocks.clone(),
            shared: Arc::clone(&state.shared),
            fields: Arc::clone(&state.fields),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A block of rows: finds shapes and values; new shapes and origins go to a copy of what is shared where a snapshot has
/// it.
fn take(
    rows: &[HotRow],
    rules: &FieldRules,
    shaper: &mut shaper::State,
    numbers: &mut Numbers,
    shared: &mut Arc<Shared>,
    beyond: &mut u64,
) -> Block {
    let mut block = Block { heads: Vec::with_capacity(rows.len()), ..Block::new() };
    shaper.values.clear();
    for HotRow { partition, offset, row } in rows {
        let values = shaper.values.len();
        let (mut shape, fit) = shaper.take(&row.record, row.time, Fit::Close);
        let mut known = numbers.known(&shape);
        if fit == Fit::Close && known.is_none() {
            let admitted = rules.admit(&shape);
            *beyond += u64::from(!admitted);
            if !admitted || numbers.shapes.len() >= MAX_SHAPES {
                shaper.values.truncate(values);
                (shape, _) = shaper.take(&row.record, row.time, Fit::Loose);
                known = numbers.known(&shape);
            }
        }
        block.heads.push(Head {
            time: row.time,
            observed: row.record.observed_timestamp,
            position: row.id.position,
            index: row.id.index,
            origin: numbers.origin(row, shared),
            shape: known.unwrap_or_else(|| numbers.add(shape, shared)),
            values: values as u32,
            partition: *partition,
            offset: *offset,
        });
        block.first = block.first.min(row.time);
        block.last = block.last.max(row.time);
        block.last_offset = block.last_offset.max(*offset);
    }
    block.values = std::mem::take(&mut shaper.values);
    block
}

impl Numbers {
    fn known(&self, shape: &Arc<Shape>) -> Option<u32> {
        self.shapes.get(&(Arc::as_ptr(shape) as usize)).copied()
    }

    fn add(&mut self, shape: Arc<Shape>, shared: &mut Arc<Shared>) -> u32 {
        let shapes = &mut Arc::make_mut(shared).shapes;
        let number = shapes.len() as u32;
        self.shapes.insert(Arc::as_ptr(&shape) as usize, number);
        shapes.push(shape);
        number
    }

    fn origin(&mut self, row: &Row, shared: &mut Arc<Shared>) -> u32 {
        let (source, resource) = (row.id.source, &row.record.resource);
        if let Some((of, last, number)) = &self.last
            && *of == source
            && Arc::ptr_eq(last, resource)
        {
            return *number;
        }
        // Each batch brings its own copy of a resource, so it is known by what it says.
        let of_source = self.origins.entry(source).or_default();
        let known = of_source.iter().copied().find(|number| {
            let known = shared.origins.get(*number as usize);
            known.is_some_and(|known| same_attributes(&known.resource, resource))
        });
        let number = known.unwrap_or_else(|| {
            let origins = &mut Arc::make_mut(shared).origins;
            origins.push(Origin::new(source, Arc::clone(resource)));
            of_source.push(origins.len() as u32 - 1);
            origins.len() as u32 - 1
        });
        self.last = Some((source, Arc::clone(resource), number));
        number
    }
}

/// Rows that no longer change. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct HotRows {
    stream: StreamName,
    blocks: Vec<Arc<Block>>,
    shared: Arc<Shared>,
    fields: Arc<ShardFields>,
}

impl HotRows {
    /// What was declared of the fields of the shard's rows, and what did not keep to it.
    pub fn fields(&self) -> &ShardFields {
        &self.fields
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.heads.len()).sum()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// All rows, rebuilt, in the order in which they came.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let mut line = Line::default();
        self.blocks.iter().flat_map(|block| (0..block.heads.len()).map(move |at| (block, at))).filter_map(
            move |(block, at)| {
                let slots = block.slots(at);
                self.view(&block.heads[at], &slots).and_then(|view| view.row(&mut line)).ok()
            },
        )
    }

    pub(crate) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    pub(crate) fn shapes(&self) -> &[Arc<Shape>] {
        &self.shared.shapes
    }

    pub(crate) fn origins(&self) -> &[Origin] {
        &self.shared.origins
    }

    fn view<'a>(
        &'a self,
        head: &Head,
        slots: &'a HotSlots<'a>,
    ) -> Result<RowView<'a, HotSlots<'a>>, Malformed> {
        let unknown = Malformed("a row of known shape and origin expected");
        let shape = self.shared.shapes.get(head.shape as usize).ok_or(unknown)?;
        let origin = self.shared.origins.get(head.origin as usize).ok_or(unknown)?;
        Ok(RowView {
            shape,
            slots,
            facts: RowFacts { time: head.time, observed: head.observed, resource: &origin.resource },
            origin: head.origin as usize,
            id: RecordId { source: origin.source, position: head.position, index: head.index },
            stream: &self.stream,
        })
    }
}

impl Block {
    /// Where the values of a row are.
    pub(crate) fn place(&self, row: usize) -> (&Strings, usize) {
        (&self.values, self.heads.get(row).map_or(usize::MAX / 2, |head| head.values as usize))
    }

    /// The values of a row.
    pub(crate) fn slots(&self, row: usize) -> HotSlots<'_> {
        let (values, first) = self.place(row);
        HotSlots { values, first, found: &[] }
    }

    /// Could a row that a message at or above `from_offset` brought lie in this range?
    fn reaches(&self, range: TimeRange, from_offset: i64) -> bool {
        self.last_offset >= from_offset && range.overlaps_closed(self.first, self.last)
    }
}

impl FromIterator<HotRow> for HotRows {
    fn from_iter<I: IntoIterator<Item = HotRow>>(rows: I) -> Self {
        let shard = HotShard::default();
        shard.append(rows.into_iter().collect());
        shard.snapshot()
    }
}

#[cfg(test)]
mod tests;
