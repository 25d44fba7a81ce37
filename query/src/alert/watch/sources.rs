//! How far each partition of the topic has handed on what others decide about. Pure.
//!
//! Matches of one message come again when its partition is read again. They carry the offset of that message, and what was handed on
//! before was handed on in that order, so one place a partition tells what is new.
//!
//! **Invariant:** of a partition's matches each piece is taken once, whoever sends it how often.

use millrace_model::{Partition, Timestamp, TopicId, wire::MatchOrigin};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format that this code writes and reads.
const VERSION: u32 = 1;

/// The partitions that have handed on something to one slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sources {
    version: u32,
    partitions: BTreeMap<i32, Source>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Source {
    topic_id: Option<TopicId>,
    /// The last piece that was taken, by offset and number.
    taken: Option<(i64, u32)>,
    /// It is not read to its end, but up to what was heard then.
    behind: Option<Timestamp>,
}

impl Default for Sources {
    fn default() -> Self {
        Self { version: VERSION, partitions: BTreeMap::new() }
    }
}

impl Sources {
    /// Goes on from what [`Self::snapshot`] gave.
    ///
    /// # Errors
    /// It is none, or of another format.
    pub(super) fn restore(snapshot: &str) -> anyhow::Result<Self> {
        let sources: Self = serde_json::from_str(snapshot)?;
        anyhow::ensure!(sources.version == VERSION, "format {} is not known", sources.version);
        Ok(sources)
    }

    /// As text, to be stored.
    ///
    /// # Errors
    /// None that can be brought about.
    pub(super) fn snapshot(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Something was handed on. Is it to be taken?
    pub(super) fn take(&mut self, origin: &MatchOrigin) -> bool {
        if let Some(id) = origin.topic_id {
            // The topic was made anew: of the one before nothing will come.
            self.partitions.retain(|_, source| source.topic_id.is_none_or(|before| before == id));
        }
        let Partition(partition) = origin.partition;
        let source = self.partitions.entry(partition).or_insert(Source {
            topic_id: origin.topic_id,
            taken: None,
            behind: None,
        });
        source.topic_id = source.topic_id.or(origin.topic_id);
        source.behind = origin.behind;
        let Some(piece) = origin.piece else { return true };
        let place = Some((origin.offset, piece));
        let new = place > source.taken;
        source.taken = source.taken.max(place);
        new
    }

    /// How late it is in the partition that is furthest behind. `None`: all are read to their ends, as far as is known.
    pub(super) fn behind(&self) -> Option<Timestamp> {
        self.partitions.values().filter_map(|source| source.behind).min()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn origin(partition: i32, offset: i64, piece: Option<u32>, behind: i64) -> MatchOrigin {
        let topic_id = Some(TopicId(1));
        let behind = (behind > 0).then_some(Timestamp(behind));
        MatchOrigin { partition: Partition(partition), topic_id, offset, piece, behind }
    }

    #[test]
    fn time_is_that_of_whoever_is_furthest_behind_and_a_topic_made_anew_begins_anew() {
        let mut sources = Sources::default();
        assert!(sources.take(&origin(0, 7, Some(0), 0)));
        assert_eq!(sources.behind(), None);
        assert!(sources.take(&origin(0, 8, Some(0), 100)));
        assert!(sources.take(&origin(1, 3, None, 40)));
        assert_eq!(sources.behind(), Some(Timestamp(40)));
        assert!(!sources.take(&origin(0, 7, Some(0), 90)), "read again");
        assert!(sources.take(&origin(1, 3, None, 0)), "what time brings is known by who counts it");
        assert_eq!(sources.behind(), Some(Timestamp(90)));

        let mut sources = Sources::restore(&sources.snapshot().unwrap()).unwrap();
        assert!(!sources.take(&origin(0, 8, Some(0), 100)));
        let anew = MatchOrigin { topic_id: Some(TopicId(2)), ..origin(1, 1, Some(0), 300) };
        assert!(sources.take(&anew));
        assert_eq!(sources.behind(), Some(Timestamp(300)), "the other partition is that of another topic");
        let unknown = MatchOrigin { topic_id: None, ..anew };
        assert!(!sources.take(&unknown));
        assert!(Sources::restore("{\"version\":2,\"partitions\":{}}").is_err());
        assert!(Sources::restore("no").is_err());
    }

    proptest! {
        /// Readers that die begin again at or before where they stood, and one that was given up may go on for a while.
        #[test]
        fn each_piece_is_taken_once_and_in_order(
            pieces in vec(1u32..4, 1..20),
            lives in vec((0usize..20, 0usize..20, any::<bool>()), 0..12),
        ) {
            let all: Vec<(i64, u32)> = (0i64..).zip(&pieces).flat_map(|(at, n)| (0..*n).map(move |p| (at, p))).collect();
            let mut sources = Sources::default();
            let (mut taken, mut delivered) = (Vec::new(), 0usize);
            let mut give = |sources: &mut Sources, range: std::ops::Range<usize>, delivered: &mut usize| {
                for (offset, piece) in &all[range.clone()] {
                    if sources.take(&origin(0, *offset, Some(*piece), 0)) {
                        taken.push((*offset, *piece));
                    }
                }
                *delivered = (*delivered).max(range.end);
            };
            for (back, on, zombie) in lives {
                // Nobody begins after what has been delivered, for a place is moved on only then.
                let start = delivered.saturating_sub(back);
                let end = (start + on).min(all.len());
                give(&mut sources, start..end, &mut delivered);
                if zombie {
                    let half = start + (end - start) / 2;
                    give(&mut sources, start..half, &mut delivered);
                }
            }
            let start = delivered;
            give(&mut sources, start..all.len(), &mut delivered);
            prop_assert_eq!(taken, all);
        }
    }
}
