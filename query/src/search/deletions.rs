//! What a search must not show: records that a deletion matches, in the shards that have not been through it yet.

use super::Missing;
use millrace_catalogue::Deletion;
use millrace_filter::{Expr, Filter};
use millrace_model::{ShardMeta, StreamName, TimeRange, Timestamp};
use millrace_store::LeafRequest;
use std::collections::BTreeSet;

/// Deletions that not all shards have been through.
#[derive(Debug, Clone, Default)]
pub struct Deletions(Vec<Pending>);

#[derive(Debug, Clone)]
struct Pending {
    number: u64,
    stream: StreamName,
    range: TimeRange,
    /// What the filter is, or why it cannot be read: another program has written it.
    filter: Result<Filter, String>,
}

impl Deletions {
    /// As a snapshot has them.
    pub fn of(deletions: &[Deletion]) -> Self {
        let read = |deletion: &Deletion| {
            let filter = deletion.filter.as_deref().unwrap_or("*");
            Pending {
                number: deletion.number,
                stream: deletion.stream.clone(),
                range: deletion.range,
                filter: millrace_filter::parse_kept(filter).map_err(|error| error.message),
            }
        };
        Self(deletions.iter().map(read).collect())
    }

    /// What to ask a shard instead of `request`: the same without what is deleted in it. Several requests, whose answers are
    /// to be joined, where a deletion is of a part of the time; none where nothing of that time is left.
    ///
    /// # Errors
    /// A deletion cannot be read: the shard must not be asked at all.
    pub fn apply(&self, request: &LeafRequest, shard: &ShardMeta) -> Result<Vec<LeafRequest>, Missing> {
        let concerns = |pending: &&Pending| {
            pending.number > shard.deletions
                && pending.stream == shard.stream
                && pending.range.overlaps_closed(shard.first, shard.last)
        };
        let pending: Vec<&Pending> = self.0.iter().filter(concerns).collect();
        let mut deleted = Vec::with_capacity(pending.len());
        for Pending { number, filter, range, .. } in pending {
            match filter {
                Ok(filter) => deleted.push((filter, *range)),
                Err(problem) => {
                    return Err(Missing {
                        shard: Some(shard.id.to_string()),
                        ..Missing::of(format!(
                            "shard {} is not searched: deletion {number} applies to it, and cannot be read here: {problem}",
                            shard.id
                        ))
                    });
                }
            }
        }
        if deleted.is_empty() {
            return Ok(vec![request.clone()]);
        }
        Ok(stretches(request.range, deleted.iter().map(|(_, range)| *range))
            .into_iter()
            .filter_map(|range| without(request, range, &deleted))
            .collect())
    }
}

/// A request of one stretch of time, without what is deleted in it. `None`: everything is.
fn without(request: &LeafRequest, range: TimeRange, deleted: &[(&Filter, TimeRange)]) -> Option<LeafRequest> {
    let mut terms = vec![request.filter.root().clone()];
    for (filter, _) in deleted.iter().filter(|(_, deleted)| deleted.contains(range.from)) {
        if *filter.root() == Expr::All {
            return None;
        }
        terms.push(Expr::Not(Box::new(filter.root().clone())));
    }
    Some(LeafRequest { filter: Filter::new(Expr::all_of(terms)), range, ..request.clone() })
}

/// Cuts `range` where one of `others` begins or ends, so that each piece lies wholly inside or outside of each of them.
fn stretches(range: TimeRange, others: impl Iterator<Item = TimeRange>) -> Vec<TimeRange> {
    let mut cuts: BTreeSet<Timestamp> = others.flat_map(|other| [other.from, other.to]).collect();
    cuts.retain(|cut| range.from < *cut && *cut < range.to);
    let mut from = range.from;
    let mut stretches = Vec::with_capacity(cuts.len() + 1);
    for to in cuts.into_iter().chain([range.to]) {
        stretches.push(TimeRange { from, to });
        from = to;
    }
    stretches
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use millrace_model::ShardId;
    use millrace_store::Order;

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange { from: Timestamp(from), to: Timestamp(to) }
    }

    fn request(query: &str, range: TimeRange) -> LeafRequest {
        let filter = millrace_filter::parse(query).unwrap();
        LeafRequest {
            filter,
            range,
            limit: 3,
            order: Order::OldestFirst,
            after: None,
            histogram: Some(5),
            fragments: None,
        }
    }

    fn shard(passed: u64) -> ShardMeta {
        ShardMeta {
            id: ShardId(1),
            schema_version: 2,
            stream: "app".parse().unwrap(),
            first: Timestamp(100),
            last: Timestamp(199),
            records: 9,
            bytes: 9,
            sha256: String::new(),
            key: String::new(),
            offsets: Vec::new(),
            created: Timestamp(0),
            rewrites: 0,
            bucket: None,
            deletions: passed,
            fields: millrace_model::ShardFields::default(),
        }
    }

    fn deletion(number: u64, stream: &str, filter: &str, range: TimeRange) -> Deletion {
        Deletion {
            number,
            stream: stream.parse().unwrap(),
            filter: Some(filter.to_owned()),
            filter_sha256: String::new(),
            range,
            reason: String::new(),
            requested: Timestamp(0),
            records: 0,
            shards_left: 1,
            purged: None,
        }
    }

    #[test]
    fn a_shard_is_asked_for_what_no_deletion_that_it_has_not_been_through_matches() {
        let asked = request("error", range(0, 1_000));
        let deletions = Deletions::of(&[
            deletion(3, "app", "user:ann", TimeRange::ALL),
            deletion(4, "web", "error", TimeRange::ALL),
            deletion(5, "app", "eve OR bob", range(150, 160)),
            deletion(6, "app", "error", range(200, 300)),
        ]);
        let text = |requests: Vec<LeafRequest>| {
            let one = |request: &LeafRequest| {
                (request.range.from.0, request.range.to.0, request.filter.to_string())
            };
            requests.iter().map(one).collect::<Vec<_>>()
        };
        let parsed = |query: &str| millrace_filter::parse(query).unwrap().to_string();
        let (outside, inside) = (parsed("error NOT user:ann"), parsed("error NOT user:ann NOT (eve OR bob)"));
        let expected = [(0, 150, outside.clone()), (150, 160, inside), (160, 1_000, outside)];
        assert_eq!(text(deletions.apply(&asked, &shard(2)).unwrap()), expected);
        let later = [
            (0, 150, parsed("error")),
            (150, 160, parsed("error NOT (eve OR bob)")),
            (160, 1_000, parsed("error")),
        ];
        assert_eq!(text(deletions.apply(&asked, &shard(3)).unwrap()), later);
        assert_eq!(
            deletions.apply(&asked, &shard(5)).unwrap(),
            std::slice::from_ref(&asked),
            "it has been through"
        );
        // What is asked for lies inside of what is deleted.
        let asked = request("error", range(151, 155));
        assert_eq!(deletions.apply(&asked, &shard(2)).unwrap().len(), 1);
    }

    #[test]
    fn where_everything_is_deleted_nothing_is_asked() {
        let deletions = Deletions::of(&[deletion(1, "app", "*", range(0, 150))]);
        let left = deletions.apply(&request("*", range(0, 1_000)), &shard(0)).unwrap();
        assert_eq!(left.iter().map(|request| request.range).collect::<Vec<_>>(), [range(150, 1_000)]);
        assert!(deletions.apply(&request("*", range(0, 150)), &shard(0)).unwrap().is_empty());
    }

    #[test]
    fn a_deletion_may_be_larger_than_a_query() {
        let many: Vec<String> = (0..5_000).map(|user| format!("user:u{user}")).collect();
        let deletions = Deletions::of(&[deletion(1, "app", &many.join(" OR "), TimeRange::ALL)]);
        assert_eq!(deletions.apply(&request("*", TimeRange::ALL), &shard(0)).unwrap().len(), 1);
    }

    #[test]
    fn a_deletion_that_cannot_be_read_closes_the_shard() {
        let deletions = Deletions::of(&[deletion(1, "app", "((", TimeRange::ALL)]);
        let missing = deletions.apply(&request("*", TimeRange::ALL), &shard(0)).unwrap_err();
        assert!(missing.shard.is_some() && missing.reason.contains("deletion 1"), "{}", missing.reason);
        assert!(deletions.apply(&request("*", TimeRange::ALL), &shard(1)).is_ok());
    }
}
