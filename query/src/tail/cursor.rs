//! Where a watcher stands.

use millrace_model::{Partition, RecordId};
use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    str::FromStr,
};

/// The next offset of each partition, and how far into these messages.
///
/// As text: `0.15_1.99`, the partitions with their offsets; and each behind `~` the partitions of messages that were begun, with
/// the position and the index of the last record that was seen: `0.15_1.99~1.40960.0`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The first offset that was not wholly seen.
    pub next: BTreeMap<Partition, i64>,
    /// Of the messages at these offsets: the position and the index of the last record that was seen.
    pub within: BTreeMap<Partition, (u64, u32)>,
}

impl Cursor {
    /// Has this record of the message at `(partition, offset)` been seen?
    pub fn is_past(&self, (partition, offset): (Partition, i64), id: RecordId) -> bool {
        match self.next.get(&partition) {
            Some(next) if offset < *next => true,
            Some(next) if offset == *next => {
                self.within.get(&partition).is_some_and(|last| (id.position, id.index) <= *last)
            }
            _ => false,
        }
    }

    /// A record of the message at `(partition, offset)` was seen.
    pub fn saw(&mut self, (partition, offset): (Partition, i64), id: RecordId) {
        self.next.insert(partition, offset);
        self.within.insert(partition, (id.position, id.index));
    }

    /// All before `offset` was seen.
    pub fn passed(&mut self, partition: Partition, offset: i64) {
        let next = self.next.entry(partition).or_insert(offset);
        if *next < offset {
            *next = offset;
            self.within.remove(&partition);
        }
    }
}

impl Display for Cursor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (place, (partition, next)) in self.next.iter().enumerate() {
            let between = if place > 0 { "_" } else { "" };
            write!(f, "{between}{partition}.{next}")?;
        }
        let mut within = self.within.iter();
        within.try_for_each(|(partition, (position, index))| write!(f, "~{partition}.{position}.{index}"))
    }
}

/// This text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of a tail")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let mut parts = text.split('~');
        let places = parts.next().unwrap_or_default();
        let mut cursor = Self::default();
        for place in places.split('_').filter(|_| !places.is_empty()) {
            let (partition, next) = place.split_once('.').ok_or(NoCursor)?;
            let (partition, next) = (number(partition)?, number(next)?);
            if next < 0 || cursor.next.insert(Partition(partition), next).is_some() {
                return Err(NoCursor);
            }
        }
        for within in parts {
            let mut parts = within.split('.');
            let mut part = || parts.next().ok_or(NoCursor);
            let (partition, last) = (Partition(number(part()?)?), (number(part()?)?, number(part()?)?));
            if parts.next().is_some() || !cursor.next.contains_key(&partition) {
                return Err(NoCursor);
            }
            cursor.within.insert(partition, last);
        }
        Ok(cursor)
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, NoCursor> {
    text.parse().map_err(|_| NoCursor)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use millrace_model::SourceId;

    fn id(position: u64) -> RecordId {
        RecordId { source: SourceId(1), position, index: 0 }
    }

    #[test]
    fn a_cursor_is_read_back() {
        for text in ["", "0.15", "0.15_1.99", "0.15_1.99~1.40960.2", "0.1_1.9~0.4.0~1.5.3"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for text in ["x", "0", "0.x", "0.-1", "0.1_0.2", "0.1~", "0.1~0.1", "0.1~1.1.1", "0.1~0.1.1.1"] {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text}");
        }
    }

    #[test]
    fn what_was_seen_of_a_message_is_not_seen_again() {
        let mut cursor: Cursor = "0.5_1.7".parse().unwrap();
        let (here, there) = ((Partition(0), 5), (Partition(1), 7));
        assert!(!cursor.is_past(here, id(1)));
        cursor.saw(here, id(1));
        assert!(cursor.is_past(here, id(1)) && !cursor.is_past(here, id(2)) && !cursor.is_past(there, id(0)));
        // Of another message only a part was seen.
        cursor.passed(Partition(0), 6);
        assert_eq!(cursor.to_string(), "0.6_1.7");
        assert!(cursor.is_past(here, id(9)));
        cursor.passed(Partition(0), 3);
        assert_eq!(cursor.to_string(), "0.6_1.7", "nothing goes back");
    }
}
