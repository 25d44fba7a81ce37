//! What came last, for everybody who watches.

use millrace_model::{Partition, Row};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// The new records of one message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch {
    /// Its partition.
    pub(super) partition: Partition,
    /// Its offset.
    pub(super) offset: i64,
    /// The records, by position.
    pub(super) rows: Vec<Row>,
}

/// The batches that came last, numbered, up to so many bytes.
#[derive(Debug)]
pub(super) struct Ring {
    batches: VecDeque<Held>,
    /// The number of the first that is held.
    first: u64,
    bytes: usize,
    most_bytes: usize,
    /// How many records have ever come.
    records: u64,
    /// Of each partition: all messages from the one offset to the other are held, but for those without records.
    held: BTreeMap<Partition, (i64, i64)>,
}

#[derive(Debug)]
struct Held {
    batch: Arc<Batch>,
    bytes: usize,
    /// How many records came before it.
    before: u64,
}

/// Where a watcher stands in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: u64,
    /// How many records had come by then.
    pub(super) records: u64,
}

/// What a ring says of a place.
#[derive(Debug)]
pub(super) enum Look {
    /// This is there, and the next place is that.
    Batch(Arc<Batch>, Place),
    /// So many records are not held any more; what follows is there.
    Lost(u64, Place),
    /// Nothing yet.
    Nothing,
}

impl Ring {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { batches: VecDeque::new(), first: 0, bytes: 0, most_bytes, records: 0, held: BTreeMap::new() }
    }

    /// A partition is read from `offset` on.
    pub(super) fn begin(&mut self, partition: Partition, offset: i64) {
        self.held.insert(partition, (offset, offset));
    }

    /// The next message of a partition; nothing is kept of one without records.
    pub(super) fn push(&mut self, batch: Batch) {
        let held = self.held.entry(batch.partition).or_insert((batch.offset, batch.offset));
        held.1 = batch.offset + 1;
        if batch.rows.is_empty() {
            return;
        }
        let bytes = batch.rows.iter().map(Row::weight).sum();
        let before = self.records;
        self.records += batch.rows.len() as u64;
        self.bytes += bytes;
        self.batches.push_back(Held { batch: Arc::new(batch), bytes, before });
        while self.bytes > self.most_bytes && self.batches.len() > 1 {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        let Some(held) = self.batches.pop_front() else { return };
        self.first += 1;
        self.bytes -= held.bytes;
        if let Some(from) = self.held.get_mut(&held.batch.partition) {
            from.0 = from.0.max(held.batch.offset + 1);
        }
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        while !self.batches.is_empty() {
            self.let_go();
        }
        self.held.clear();
    }

    /// The place behind all that has come.
    pub(super) fn end(&self) -> Place {
        Place { number: self.first + self.batches.len() as u64, records: self.records }
    }

    /// The place of the earliest that is held.
    pub(super) fn start(&self) -> Place {
        let records = self.batches.front().map_or(self.records, |held| held.before);
        Place { number: self.first, records }
    }

    pub(super) fn look(&self, place: Place) -> Look {
        let Some(behind) = place.number.checked_sub(self.first) else {
            let start = self.start();
            return Look::Lost(start.records - place.records, start);
        };
        match self.batches.get(behind as usize) {
            Some(held) => {
                let records = held.before + held.batch.rows.len() as u64;
                Look::Batch(Arc::clone(&held.batch), Place { number: place.number + 1, records })
            }
            None => Look::Nothing,
        }
    }

    /// Of each partition: all from the one offset to the other is held.
    pub(super) fn held(&self) -> &BTreeMap<Partition, (i64, i64)> {
        &self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::{LogRecord, RecordId, SourceId, StreamName, Timestamp};

    fn batch(offset: i64, records: u64) -> Batch {
        let row = |position| Row {
            id: RecordId { source: SourceId(1), position, index: 0 },
            stream: StreamName::default(),
            time: Timestamp(0),
            record: LogRecord::default(),
        };
        Batch { partition: Partition(0), offset, rows: (0..records).map(row).collect() }
    }

    #[test]
    fn what_is_let_go_of_is_counted_for_those_who_have_not_seen_it() {
        let bytes: usize = batch(0, 3).rows.iter().map(Row::weight).sum();
        let mut ring = Ring::new(2 * bytes);
        ring.begin(Partition(0), 0);
        let start = ring.start();
        assert!(matches!(ring.look(start), Look::Nothing));
        ring.push(batch(0, 3));
        ring.push(batch(1, 0));
        let Look::Batch(first, next) = ring.look(start) else { panic!("a batch expected") };
        assert_eq!((first.offset, next), (0, ring.end()));
        assert_eq!(ring.held()[&Partition(0)], (0, 2), "a message without records is seen, too");
        ring.push(batch(2, 3));
        ring.push(batch(3, 3));
        assert_eq!(ring.held()[&Partition(0)], (1, 4));
        // Who has seen the first has missed nothing, who has not has missed three.
        assert!(matches!(ring.look(next), Look::Batch(batch, _) if batch.offset == 2));
        let Look::Lost(3, next) = ring.look(start) else { panic!("three lost ones expected") };
        assert!(matches!(ring.look(next), Look::Batch(batch, _) if batch.offset == 2));
        ring.clear();
        let Look::Lost(6, next) = ring.look(next) else { panic!("six lost ones expected") };
        assert_eq!((next, ring.held().len()), (ring.end(), 0));
    }
}
