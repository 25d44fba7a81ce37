//! How far partitions have come: up to where each is published, up to where its owner holds rows of it, where it ends. One look at the
//! catalogue and one at every indexer, as a search has them.

use super::{
    Missing,
    merge::{Held, key},
    plan,
};
use crate::{DETECT_GROUP, Leaves, SearchRequest};
use millrace_catalogue::{Catalogue, PartitionRow};
use millrace_filter::Filter;
use millrace_model::{Grant, Sight, TimeRange, Timestamp, Value};
use millrace_pipes::{Aggregate, AggregateKind, Context, Expr, Named, Pipe, Plan};
use millrace_store::{HotPart, Leaf, Order, Templates};
use std::time::Duration;

/// What is gathered for it takes next to nothing.
const MEMORY: usize = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// As the catalogue has them.
    pub(crate) rows: Vec<PartitionRow>,
    /// Each of them, in the same order.
    pub(crate) partitions: Vec<PartitionStanding>,
    /// What could not be asked.
    pub(crate) missing: Vec<Missing>,
}

/// How far a partition has come.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct PartitionStanding {
    /// The first offset that is not published.
    pub(crate) published: Option<i64>,
    /// What its owner says, if it does.
    pub(crate) held: Option<HeldStanding>,
    /// Up to where rules have come.
    pub(crate) detected: Option<DetectedStanding>,
}

/// What its owner says of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HeldStanding {
    /// The first offset that is not taken in.
    pub(crate) taken: i64,
    /// Where the partition ends.
    pub(crate) end: i64,
    /// How long the oldest message waits that is not taken in.
    pub(crate) waits: Option<Duration>,
    /// How many messages were taken in and are not published.
    pub(crate) unpublished: u64,
    /// How many records they have.
    pub(crate) records: u64,
    /// How long ago the oldest of these records was observed.
    pub(crate) age: Option<Duration>,
}

/// How far rules have come in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetectedStanding {
    /// Whose it is.
    pub(crate) owner: String,
    /// The first offset of which they do not have the consequences in the catalogue.
    pub(crate) next: Option<i64>,
}

/// Asks.
pub(super) async fn standing<L: Leaf>(
    catalogue: &Catalogue,
    leaves: &Leaves<L>,
    now: Timestamp,
) -> Result<Standing, millrace_catalogue::Error> {
    // A plan of one aggregate can always be made.
    let Ok(oldest) = oldest(now) else { return Ok(Standing::default()) };
    let all = SearchRequest {
        filter: Filter::ALL,
        // Of shards nothing is asked.
        range: TimeRange::NONE,
        streams: None,
        sight: Sight::whole(Grant::All),
        limit: 0,
        order: Order::NewestFirst,
        after: None,
        histogram: None,
        gather: Some(oldest.leaf()),
    };
    let mut plan = plan::plan(catalogue, &all).await?;
    plan.hot.request.range = TimeRange::ALL;
    let answers = leaves.ask(&plan.snapshot.nodes, &plan.hot).await;
    let detected = catalogue.snapshot(DETECT_GROUP, TimeRange::NONE, None).await?.partitions;
    let mut missing = Vec::new();
    if answers.is_empty() {
        missing.push(Missing::of("no indexer is running: what waits for it is known of the topic alone"));
    }
    let held = Held::of(answers);
    missing.extend(held.missing());
    let rows = plan.snapshot.partitions;
    let partitions = rows.iter().map(|row| {
        let told = held.by_owner(row).map(|part| {
            let end = held.ends.get(&key(row)).copied().unwrap_or(part.end);
            told(part, row, end, &oldest, now)
        });
        let rules = detected.iter().find(|other| key(other) == key(row));
        PartitionStanding {
            published: row.next_offset,
            held: told,
            detected: rules.map(|row| DetectedStanding { owner: row.owner.clone(), next: row.next_offset }),
        }
    });
    Ok(Standing { partitions: partitions.collect(), rows, missing })
}

fn told(part: &HotPart, row: &PartitionRow, end: i64, oldest: &Plan, now: Timestamp) -> HeldStanding {
    let from = row.next_offset.unwrap_or(part.held_from).max(part.held_from);
    let observed =
        oldest.finish(part.response.gathered.clone(), Templates::new().merges()).ok().and_then(|answer| {
            match answer.table.columns.first()?.cells.get(0)? {
                Value::Int(time) => Some(Timestamp(*time)),
                _ => None,
            }
        });
    HeldStanding {
        taken: part.held_to,
        end,
        waits: if end > part.held_to {
            part.waits_ms.map(Duration::from_millis)
        } else {
            Some(Duration::ZERO)
        },
        unpublished: part.held_to.saturating_sub(from).max(0) as u64,
        records: part.response.total,
        age: observed.map(|observed| now.since(observed)),
    }
}

/// When the oldest of some records was observed.
fn oldest(now: Timestamp) -> Result<Plan, String> {
    let of = Some(Expr::Column("observed_timestamp".to_owned()));
    let first = Named { name: "oldest".to_owned(), what: Aggregate { kind: AggregateKind::Min, of } };
    let context = Context { now, range: TimeRange::ALL, limit: 1, memory: MEMORY };
    Plan::new(&[Pipe::Stats { aggregates: vec![first], by: Vec::new() }], &context)
}
