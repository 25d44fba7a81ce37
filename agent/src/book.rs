//! What is under way of each source, and how far it is delivered without a gap. Pure: the checkpoint in memory, and
//! what deliveries do to it.

use crate::{
    checkpoint::{Checkpoint, Closing, Entry, GoesOn, Place},
    source::{
        Mark, Shipment,
        file::{FileIdentity, Fingerprint},
    },
};
use millrace_model::{Partition, SourceId};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

/// The checkpoint as it will be written, and what is not delivered yet.
#[derive(Debug)]
pub(crate) struct Book {
    checkpoint: Checkpoint,
    /// Of each source by their starts.
    flights: HashMap<SourceId, BTreeMap<u64, Flight>>,
    /// Of each journal, over all its sources, in the order in which they were read.
    journals: HashMap<Arc<str>, VecDeque<JournalFlight>>,
    /// Sources that go on under another id, though their readers do not know.
    successors: HashMap<SourceId, SourceId>,
    /// There is something to write.
    changed: bool,
    /// There is something that must be durable before anything more is shipped.
    urgent: bool,
}

/// A batch under way, perhaps in several messages.
#[derive(Debug)]
struct Flight {
    end: u64,
    /// Messages that are not delivered yet.
    parts: usize,
    mark: Mark,
    closes: bool,
    record_bytes: u64,
}

#[derive(Debug)]
struct JournalFlight {
    source: SourceId,
    start: u64,
    done: bool,
    cursor: Option<String>,
}

impl Book {
    pub(crate) fn new(checkpoint: Checkpoint) -> Self {
        Self {
            checkpoint,
            flights: HashMap::new(),
            journals: HashMap::new(),
            successors: HashMap::new(),
            changed: false,
            urgent: false,
        }
    }

    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// There is something to write after all.
    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    /// What is written from now on is not lost; call before taking the copy that is written.
    pub(crate) fn begin_write(&mut self) {
        self.changed = false;
    }

    pub(crate) fn write_done(&mut self, durable: bool, urgent: bool) {
        if !durable {
            self.changed = true;
        } else if urgent {
            self.urgent = false;
        }
    }

    /// The id under which a source goes on now.
    pub(crate) fn resolve(&self, mut source: SourceId) -> SourceId {
        while let Some(successor) = self.successors.get(&source) {
            source = *successor;
        }
        source
    }

    pub(crate) fn entry(&self, source: SourceId) -> Option<&Entry> {
        self.checkpoint.sources.get(&source)
    }

    /// The open sources whose partition does not exist (any longer).
    pub(crate) fn misplaced(&self, partitions: u32) -> Vec<SourceId> {
        let gone =
            |partition: Partition| u32::try_from(partition.0).map_or(true, |number| number >= partitions);
        let open = self.checkpoint.sources.iter().filter(|(_, entry)| !entry.closed);
        open.filter(|(_, entry)| entry.partition.is_some_and(gone)).map(|(id, _)| *id).collect()
    }

    /// Sources that were never shipped from have no partition yet.
    pub(crate) fn place(&mut self, partition: Partition) {
        for entry in self.checkpoint.sources.values_mut().filter(|entry| entry.partition.is_none()) {
            entry.partition = Some(partition);
            self.changed = true;
            self.urgent = true;
        }
    }

    /// New sources; all of them go to the same partition, for they are one host's.
    pub(crate) fn opened(&mut self, sources: Vec<(SourceId, Entry)>, partition: Partition) {
        for (source, mut entry) in sources {
            entry.partition.get_or_insert(partition);
            self.checkpoint.sources.insert(source, entry);
        }
        self.changed = true;
        self.urgent = true;
    }

    pub(crate) fn closing(&mut self, source: SourceId, closing: Closing) {
        let source = self.resolve(source);
        if let Some(entry) = self.checkpoint.sources.get_mut(&source) {
            entry.closing = Some(closing);
            self.changed = true;
            self.urgent = true;
        }
    }

    pub(crate) fn head(&mut self, source: SourceId, head: Fingerprint) {
        let source = self.resolve(source);
        if let Some(Entry { place: Place::File(place), .. }) = self.checkpoint.sources.get_mut(&source) {
            place.head = head;
            self.changed = true;
            self.urgent = true;
        }
    }

    /// As [`Self::closing`]; what the other source has of this one is noted there in the same write.
    pub(crate) fn goes_on(&mut self, source: SourceId, closing: Closing) {
        if let Some(GoesOn { source, ranges }) = &closing.goes_on {
            let other = self.resolve(*source);
            if let Some(entry) = self.checkpoint.sources.get_mut(&other) {
                entry.merged.clone_from(ranges);
            }
        }
        self.closing(source, closing);
    }

    pub(crate) fn cut(&mut self, source: SourceId, at: u64) {
        let source = self.resolve(source);
        if let Some(entry) = self.checkpoint.sources.get_mut(&source) {
            entry.cuts.push(at);
            self.changed = true;
            self.urgent = true;
        }
    }

    pub(crate) fn moved(
        &mut self,
        source: SourceId,
        path: PathBuf,
        identity: FileIdentity,
        packed: Option<u64>,
    ) {
        let source = self.resolve(source);
        if let Some(Entry { place: Place::File(place), .. }) = self.checkpoint.sources.get_mut(&source) {
            place.at = path;
            place.identity = identity;
            place.packed = packed;
            self.changed = true;
        }
    }

    pub(crate) fn forgotten(&mut self, sources: &[SourceId]) {
        for source in sources {
            let source = self.resolve(*source);
            self.changed |= self.checkpoint.sources.remove(&source).is_some();
        }
    }

    /// A batch is on its way; returns the source that it is of now.
    pub(crate) fn under_way(&mut self, shipment: &Shipment) -> SourceId {
        let source = self.resolve(shipment.source);
        let start = shipment.sealed.start;
        if let Mark::Journal { name, cursor } = &shipment.mark {
            let flight = JournalFlight { source, start, done: false, cursor: cursor.clone() };
            self.journals.entry(Arc::clone(name)).or_default().push_back(flight);
        }
        let flight = Flight {
            end: shipment.sealed.end,
            parts: 1,
            mark: shipment.mark.clone(),
            closes: shipment.closes,
            record_bytes: shipment.record_bytes,
        };
        self.flights.entry(source).or_default().insert(start, flight);
        source
    }

    /// One message of a batch became two.
    pub(crate) fn halved(&mut self, source: SourceId, start: u64) {
        if let Some(flight) = self.flights.get_mut(&source).and_then(|flights| flights.get_mut(&start)) {
            flight.parts += 1;
        }
    }

    /// One message of a batch is delivered. When it is the batch's last, its bytes of records are returned.
    pub(crate) fn delivered(&mut self, source: SourceId, start: u64) -> Option<u64> {
        let flights = self.flights.get_mut(&source)?;
        let flight = flights.get_mut(&start)?;
        flight.parts -= 1;
        if flight.parts > 0 {
            return None;
        }
        let bytes = flight.record_bytes;
        if let Mark::Journal { name, .. } = &flight.mark {
            let name = Arc::clone(name);
            self.journal_delivered(&name, source, start);
        }
        self.advance(source);
        Some(bytes)
    }

    /// Moves the position over all that is delivered without a gap.
    fn advance(&mut self, source: SourceId) {
        let Some(flights) = self.flights.get_mut(&source) else { return };
        while let Some(first) = flights.first_entry().filter(|first| first.get().parts == 0) {
            let flight = first.remove();
            self.changed = true;
            let Some(entry) = self.checkpoint.sources.get_mut(&source) else { continue };
            entry.position = flight.end;
            entry.cuts.retain(|cut| *cut > flight.end);
            entry.merged.retain(|range| range.end > flight.end);
            if let (Place::File(place), Mark::File { head, marker, size }) = (&mut entry.place, flight.mark) {
                (place.head, place.marker, place.size) = (head, marker, size);
            }
            if flight.closes {
                let remember = entry.closing.take().is_some_and(|closing| closing.remember);
                entry.closed = remember;
                if !remember {
                    self.checkpoint.sources.remove(&source);
                }
            }
        }
        if flights.is_empty() {
            self.flights.remove(&source);
        }
    }

    fn journal_delivered(&mut self, name: &Arc<str>, source: SourceId, start: u64) {
        let Some(flights) = self.journals.get_mut(name) else { return };
        if let Some(flight) =
            flights.iter_mut().find(|flight| flight.source == source && flight.start == start)
        {
            flight.done = true;
        }
        while let Some(flight) = flights.pop_front_if(|flight| flight.done) {
            if let Some(cursor) = flight.cursor {
                self.checkpoint.cursors.insert(name.to_string(), cursor);
                self.changed = true;
            }
        }
    }

    /// The source's partition is gone: it goes on under a new id from what is delivered. `None` if it is not known.
    pub(crate) fn succeed(&mut self, source: SourceId, partition: Partition) -> Option<SourceId> {
        let new = self.checkpoint.succeed(source, "partition")?;
        if let Some(entry) = self.checkpoint.sources.get_mut(&new) {
            entry.partition = Some(partition);
        }
        if let Some(flights) = self.flights.remove(&source) {
            self.flights.insert(new, flights);
        }
        for flight in self.journals.values_mut().flatten().filter(|flight| flight.source == source) {
            flight.source = new;
        }
        self.successors.insert(source, new);
        self.changed = true;
        self.urgent = true;
        Some(new)
    }
}

#[cfg(test)]
mod tests;
