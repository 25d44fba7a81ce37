//! The proof that what the topic gives is what a shard holds. Pure: rows go in, whether each belongs to the shard comes out, and in
//! the end a verdict.
//!
//! Cuts share no offset, and within a cut a stream's shards share no time. So the records of a shard are those of its stream that the
//! messages of its offsets gave, and whose times lie between its first and its last; what the topic gives beside them came twice,
//! was deleted, held back or had expired. There are two proofs:
//! - **By ids**, where the old bundle still tells them: a record belongs to the shard if its id is one of those, and all of
//!   them must come. What else the topic gives is passed over, so nothing that was deleted comes back.
//! - **By count**, where the bundle is lost: as nothing of the shard can be absent from what the topic gives, as many records as it held
//!   are those that it held. That holds only as long as nothing makes it doubtful that they would all be given under the ids that
//!   they had: a [`doubt`](Proof::doubt) ends it.

use millrace_model::{RecordId, Row, ShardMeta, Timestamp};

/// See the module.
#[derive(Debug)]
pub(super) struct Proof {
    first: Timestamp,
    last: Timestamp,
    records: u64,
    known: Option<Known>,
    found: u64,
    problem: Option<String>,
}

/// The ids of a shard's records, sorted, and which of them have come.
#[derive(Debug)]
struct Known {
    ids: Vec<RecordId>,
    come: Vec<bool>,
}

impl Proof {
    /// That a shard is made again exactly. `ids`: those of its records, where its bundle tells them.
    pub(super) fn new(shard: &ShardMeta, ids: Option<Vec<RecordId>>) -> Self {
        let known = ids.map(|mut ids| {
            ids.sort_unstable();
            let come = vec![false; ids.len()];
            Known { ids, come }
        });
        let ShardMeta { first, last, records, .. } = *shard;
        Self { first, last, records, known, found: 0, problem: None }
    }

    /// Why there is no proof any more, whatever comes.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Something that no proof survives.
    pub(super) fn contradict(&mut self, problem: impl FnOnce() -> String) {
        if self.problem.is_none() {
            self.problem = Some(problem());
        }
    }

    /// Something that leaves no proof but by ids.
    pub(super) fn doubt(&mut self, problem: impl FnOnce() -> String) {
        if self.known.is_none() {
            self.contradict(|| format!("its bundle is lost, and {}", problem()));
        }
    }

    /// Does a row of the shard's stream, of a message of its offsets, belong to the shard?
    pub(super) fn claims(&mut self, row: &Row) -> bool {
        let (first, last) = (self.first, self.last);
        let inside = |time| first <= time && time <= last;
        let is_inside = inside(row.time);
        if let Some(known) = &mut self.known {
            let Ok(at) = known.ids.binary_search(&row.id) else { return false };
            if std::mem::replace(&mut known.come[at], true) {
                return false;
            }
            if !is_inside {
                self.contradict(|| {
                    format!("record {} would go to {}, which is not this shard's time", row.id, row.time)
                });
            }
        } else if !is_inside {
            // Which of its times is believed depends on how long the stream is kept, and that can have been changed.
            if inside(row.record.time()) || inside(row.record.observed_timestamp) {
                self.doubt(|| format!("record {} could have had another time than {}", row.id, row.time));
            }
            return false;
        }
        self.found += 1;
        true
    }

    /// Is all of the shard there, and nothing else? If not: why.
    pub(super) fn verdict(&self) -> Result<(), String> {
        let Self { records, found, .. } = self;
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        if found == records {
            return Ok(());
        }
        Err(match &self.known {
            Some(known) => {
                let absent = known.ids.iter().zip(&known.come).find(|(_, come)| !**come);
                let first = absent.map(|(id, _)| format!(", such as {id}")).unwrap_or_default();
                format!("the topic gives {found} of its {records} records{first}")
            }
            None if found < records => format!("the topic gives {found} of its {records} records"),
            None => format!(
                "its bundle is lost, and the topic gives {found} records where it held {records}: some were deleted, held back, \
                 had expired or came twice, and which of them is not known"
            ),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use millrace_model::{LogRecord, OffsetRange, ShardFields, ShardId, SourceId, StreamName};

    fn shard(records: u64) -> ShardMeta {
        ShardMeta {
            id: ShardId(1),
            schema_version: 2,
            stream: StreamName::default(),
            first: Timestamp(10),
            last: Timestamp(20),
            records,
            bytes: 1,
            sha256: String::new(),
            key: String::new(),
            offsets: Vec::<OffsetRange>::new(),
            created: Timestamp(30),
            rewrites: 0,
            bucket: None,
            deletions: 0,
            fields: ShardFields::default(),
        }
    }

    fn id(position: u64) -> RecordId {
        RecordId { source: SourceId(1), position, index: 0 }
    }

    fn row(position: u64, time: i64) -> Row {
        let time = Timestamp(time);
        let record = LogRecord { timestamp: Some(time), observed_timestamp: time, ..LogRecord::default() };
        Row { id: id(position), stream: StreamName::default(), time, record }
    }

    #[test]
    fn ids_tell_what_belongs_whatever_else_comes() {
        let mut proof = Proof::new(&shard(2), Some(vec![id(7), id(3)]));
        proof.doubt(|| "nobody cares".to_owned());
        let claimed: Vec<bool> = [(3, 10), (4, 11), (7, 20), (7, 20), (8, 30)]
            .map(|(at, time)| proof.claims(&row(at, time)))
            .into();
        assert_eq!(claimed, [true, false, true, false, false]);
        assert_eq!(proof.verdict(), Ok(()));
    }

    #[test]
    fn an_id_that_does_not_come_or_moves_in_time_is_told() {
        let mut proof = Proof::new(&shard(2), Some(vec![id(3), id(7)]));
        assert!(proof.claims(&row(3, 10)));
        assert!(proof.verdict().unwrap_err().contains(&format!("1 of its 2 records, such as {}", id(7))));
        proof.claims(&row(7, 21));
        assert!(proof.problem().unwrap().contains("not this shard's time"));
        assert!(proof.verdict().is_err());
    }

    #[test]
    fn without_ids_the_count_decides() {
        for (count, expected) in [(2, "2 of its 3 records"), (3, ""), (4, "4 records where it held 3")] {
            let mut proof = Proof::new(&shard(3), None);
            assert!(!proof.claims(&row(99, 21)), "a neighbour's");
            assert!((0..count).all(|at| proof.claims(&row(at, 10 + at as i64))));
            match proof.verdict() {
                Ok(()) => assert_eq!(expected, ""),
                Err(problem) => assert!(!expected.is_empty() && problem.contains(expected), "{problem}"),
            }
        }
    }

    #[test]
    fn without_ids_a_doubt_is_enough() {
        let mut proof = Proof::new(&shard(1), None);
        assert!(proof.claims(&row(1, 10)));
        proof.doubt(|| "something is odd".to_owned());
        assert_eq!(proof.verdict().unwrap_err(), "its bundle is lost, and something is odd");
        // A record that was observed in the shard's time, and says another.
        let mut proof = Proof::new(&shard(1), None);
        let mut odd = row(2, 5);
        odd.record.observed_timestamp = Timestamp(15);
        assert!(!proof.claims(&odd) && proof.claims(&row(1, 10)));
        assert!(proof.verdict().unwrap_err().contains("could have had another time"));
    }
}
