//! What sealed shards have answered: they never change, so that the same question has the same answer. Dashboards that look again
//! ask only what is new.
//!
//! A question is all that a shard is asked, the time cut to that of its records, so that a range that moves on asks the same of
//! shards that lie within it. Whether a stream may be seen is decided before; deletions are part of the question.

use crate::Metrics;
use lru::LruCache;
use millrace_model::{ShardMeta, TimeRange};
use millrace_pipes::Partials;
use millrace_store::{LeafRequest, LeafResponse};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// A longer question, one that brings a table to join, is not kept: it is seldom asked again, and takes time to compare.
const LONGEST: usize = 16 << 10;
/// An answer that would take more than this part of the room is not kept.
const LARGEST: usize = 8;

/// What is asked of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The key of the shard's bundle.
    shard: Arc<str>,
    /// The requests as they travel.
    asked: Arc<str>,
}

/// A bounded memory of answers. The one that was used longest ago goes first.
#[derive(Debug)]
pub struct Results {
    kept: Mutex<Kept>,
    /// In bytes; 0: nothing is kept.
    room: usize,
    metrics: Metrics,
}

#[derive(Debug)]
struct Kept {
    answers: LruCache<Question, (Arc<LeafResponse>, usize)>,
    bytes: usize,
}

impl Results {
    /// With room for so many bytes.
    pub fn new(room: usize, metrics: Metrics) -> Self {
        Self { kept: Mutex::new(Kept { answers: LruCache::unbounded(), bytes: 0 }), room, metrics }
    }

    /// Are answers to this request to be kept? Asked once a search: what is too long is not written out for each shard.
    pub fn keeps(&self, request: &LeafRequest) -> bool {
        self.room > 0 && serde_json::to_string(request).is_ok_and(|asked| asked.len() <= LONGEST)
    }

    /// The question that these requests are to this shard; `None`: its answer is not to be kept.
    pub fn question(&self, shard: &ShardMeta, requests: &[LeafRequest]) -> Option<Question> {
        if self.room == 0 {
            return None;
        }
        let within =
            |request: &LeafRequest| LeafRequest { range: within(request.range, shard), ..request.clone() };
        let requests: Vec<LeafRequest> = requests.iter().map(within).collect();
        let asked = serde_json::to_string(&requests).ok().filter(|asked| asked.len() <= LONGEST)?;
        Some(Question { shard: shard.key.as_str().into(), asked: asked.into() })
    }

    /// What was answered, as an answer to this request. Nothing is read for it.
    pub fn answer(&self, question: &Question, request: &LeafRequest) -> Option<LeafResponse> {
        let answer = self.lock().answers.get(question).map(|(answer, _)| Arc::clone(answer))?;
        self.metrics.kept_results.inc();
        Some(LeafResponse { scanned_bytes: 0, ..answer.apart().adopted(request) })
    }

    /// Keeps an answer.
    pub fn keep(&self, question: Question, answer: &LeafResponse) {
        if answer.gathered.as_ref().is_some_and(Partials::is_too_large) {
            return;
        }
        let weight = answer.weight() + question.shard.len() + question.asked.len() + 128;
        if weight > self.room / LARGEST {
            return;
        }
        let answer = Arc::new(answer.apart());
        let kept = &mut *self.lock();
        kept.bytes += weight;
        if let Some((_, before)) = kept.answers.put(question, (answer, weight)) {
            kept.bytes -= before;
        }
        while kept.bytes > self.room
            && let Some((_, (_, weight))) = kept.answers.pop_lru()
        {
            kept.bytes -= weight;
        }
        self.metrics.kept_result_bytes.set(i64::try_from(kept.bytes).unwrap_or(i64::MAX));
    }

    /// Keeps only answers of these bundles: of records that were deleted nothing stays.
    pub fn keep_only(&self, bundles: &HashSet<String>) {
        let kept = &mut *self.lock();
        let gone: Vec<Question> = kept
            .answers
            .iter()
            .filter(|(question, _)| !bundles.contains(&*question.shard))
            .map(|(question, _)| question.clone())
            .collect();
        for question in gone {
            if let Some((_, weight)) = kept.answers.pop(&question) {
                kept.bytes -= weight;
            }
        }
        self.metrics.kept_result_bytes.set(i64::try_from(kept.bytes).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a range that a shard's records can lie in.
fn within(range: TimeRange, shard: &ShardMeta) -> TimeRange {
    TimeRange {
        from: if range.from <= shard.first { TimeRange::ALL.from } else { range.from },
        to: if range.to > shard.last { TimeRange::ALL.to } else { range.to },
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use millrace_filter::Filter;
    use millrace_model::{ShardFields, ShardId, Timestamp};
    use millrace_store::Order;

    fn shard(key: &str) -> ShardMeta {
        ShardMeta {
            id: ShardId(1),
            schema_version: 3,
            stream: "logs".parse().unwrap(),
            first: Timestamp(100),
            last: Timestamp(200),
            records: 7,
            bytes: 70,
            sha256: String::new(),
            key: key.to_owned(),
            offsets: Vec::new(),
            created: Timestamp(300),
            rewrites: 0,
            bucket: None,
            deletions: 0,
            fields: ShardFields::default(),
        }
    }

    fn request(filter: &str, from: i64, to: i64) -> LeafRequest {
        LeafRequest {
            filter: millrace_filter::parse(filter).unwrap(),
            range: TimeRange { from: Timestamp(from), to: Timestamp(to) },
            limit: 0,
            order: Order::NewestFirst,
            after: None,
            histogram: None,
            fragments: None,
        }
    }

    fn answer(total: u64) -> LeafResponse {
        LeafResponse {
            total,
            scanned_bytes: 9,
            histogram: (0..20).map(|at| (at, total)).collect(),
            ..LeafResponse::default()
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer() {
        let metrics = Metrics::default();
        let results = Results::new(1 << 20, metrics.clone());
        let ask = |request: &LeafRequest, key: &str| {
            let question = results.question(&shard(key), std::slice::from_ref(request)).unwrap();
            results.answer(&question, request).map(|answer| (answer.total, answer.scanned_bytes))
        };
        let first = request("a", 50, 500);
        results.keep(results.question(&shard("k"), std::slice::from_ref(&first)).unwrap(), &answer(7));
        assert_eq!(ask(&first, "k"), Some((7, 0)));
        // Time that goes on beyond the shard is the same to it; time that ends within it is not.
        assert_eq!(ask(&request("a", 100, 201), "k"), Some((7, 0)));
        for other in [
            request("a", 101, 500),
            request("a", 50, 200),
            request("b", 50, 500),
            LeafRequest { limit: 1, ..first.clone() },
        ] {
            assert_eq!(ask(&other, "k"), None, "{other:?}");
        }
        assert_eq!(ask(&first, "other"), None);
        assert_eq!(metrics.kept_results.get(), 2);
        // A shard that is no more leaves nothing behind.
        results.keep_only(&HashSet::from(["other".to_owned()]));
        assert_eq!((ask(&first, "k"), metrics.kept_result_bytes.get()), (None, 0));
    }

    #[test]
    fn what_is_kept_has_no_more_room_than_there_is() {
        let metrics = Metrics::default();
        let results = Results::new(16 << 10, metrics.clone());
        let question =
            |number: u32| results.question(&shard(&number.to_string()), &[request("a", 0, 500)]).unwrap();
        let has = |number: u32| results.answer(&question(number), &request("a", 0, 500)).is_some();
        for number in 0..100 {
            results.keep(question(number), &answer(1));
            // The first is used all the while.
            assert!(has(0));
            assert!(metrics.kept_result_bytes.get() <= 16 << 10);
        }
        assert!(has(99) && !has(1));
        // What would drive out all else is not kept.
        let large =
            LeafResponse { histogram: (0..1000).map(|at| (at, 1)).collect(), ..LeafResponse::default() };
        results.keep(question(200), &large);
        assert!(!has(200) && has(0));
        // Keeping it again takes no more room.
        let before = metrics.kept_result_bytes.get();
        results.keep(question(0), &answer(1));
        assert_eq!(metrics.kept_result_bytes.get(), before);
        let long = LeafRequest {
            filter: Filter::new(
                millrace_filter::parse(&format!("x:\"{}\"", "y".repeat(LONGEST))).unwrap().root().clone(),
            ),
            ..request("a", 0, 1)
        };
        assert!(results.keeps(&request("a", 0, 1)) && !results.keeps(&long));
        assert!(results.question(&shard("k"), &[long]).is_none());
        assert!(Results::new(0, metrics).question(&shard("k"), &[request("a", 0, 1)]).is_none());
    }
}
