//! Trails against rows: each chain is recomputed, and what it comes to must be what the rows of partitions and shards say.
//! Bundles are not looked at.
//!
//! **Invariant:** all that is compared is of one instant, so what others publish, merge and expire meanwhile is no fault.

use crate::{Catalogue, Error, TrailCheck, account::Account};
use millrace_model::{Partition, ShardId, ShardMeta};
use std::collections::{BTreeMap, BTreeSet};

/// Links that are read at once.
const PAGE: u32 = 1000;

/// What is wrong with a shard's row, and in the trails of which partitions it shows.
type Differences = BTreeMap<(ShardId, String), BTreeSet<Partition>>;

/// Something in the catalogue that is not as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowFault {
    /// A hash chain is broken.
    Trail {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// Where, and how.
        problem: String,
    },
    /// A partition does not stand where its chain ends.
    Partition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// What either says.
        problem: String,
    },
    /// A shard's row is not what the chains say of it, or one of the two is not there.
    Shard {
        /// The shard's id as it is stored.
        id: String,
        /// What either says.
        problem: String,
    },
}

/// What came of holding a group's trails against its rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifiedRows {
    /// Chains that were recomputed to their ends.
    pub chains: u64,
    /// Links that were recomputed.
    pub links: u64,
    /// The shards that were live at that instant, as their rows have them.
    pub shards: Vec<ShardMeta>,
    /// What does not fit.
    pub faults: Vec<RowFault>,
}

impl Catalogue {
    /// Recomputes the chains of a group, and holds them against the rows of its partitions and live shards. Reads every
    /// link, a thousand at a time.
    ///
    /// # Errors
    /// Only where the database cannot be read: what is wrong with what it holds is in the answer.
    pub async fn verify(&self, group: &str) -> Result<VerifiedRows, Error> {
        let account = self.account(group).await?;
        let mut verified = VerifiedRows::default();
        check(self, group, &account, &mut verified).await?;
        verified.shards = account.shards;
        Ok(verified)
    }
}

/// Recomputes all chains up to where the account has them, and compares.
async fn check(
    catalogue: &Catalogue,
    group: &str,
    account: &Account,
    into: &mut VerifiedRows,
) -> Result<(), Error> {
    for (id, problem) in &account.unreadable {
        let problem = format!("its row cannot be read: {problem}");
        into.faults.push(RowFault::Shard { id: id.clone(), problem });
    }
    let rows = by_place(&account.shards, into);
    let mut places: BTreeSet<(&str, Partition)> = rows.keys().copied().collect();
    places.extend(account.chains.iter().map(|chain| (chain.topic.as_str(), chain.partition)));
    places.extend(account.partitions.iter().map(|row| (row.topic.as_str(), row.partition)));
    places.extend(account.holes.iter().map(|hole| (hole.topic.as_str(), hole.partition)));
    let mut differences = Differences::new();
    for place in places {
        let Some(trail) = recompute(catalogue, group, account, place, into).await? else { continue };
        check_partition(account, place, &trail, into);
        check_holes(account, place, &trail, into);
        let shards = rows.get(&place).map(Vec::as_slice).unwrap_or_default();
        compare(account, shards, &trail, place.1, &mut differences);
    }
    for ((shard, problem), partitions) in differences {
        let partitions: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        let problem = format!("{problem} (trail of partition {})", partitions.join(", "));
        into.faults.push(RowFault::Shard { id: shard.to_string(), problem });
    }
    Ok(())
}

/// The rows of live shards by the partitions that they hold rows of.
fn by_place<'a>(
    shards: &'a [ShardMeta],
    into: &mut VerifiedRows,
) -> BTreeMap<(&'a str, Partition), Vec<&'a ShardMeta>> {
    let mut places: BTreeMap<(&str, Partition), Vec<&ShardMeta>> = BTreeMap::new();
    for shard in shards {
        let ranges = shard.offsets.iter().filter(|range| !range.is_empty());
        let of_it: BTreeSet<_> = ranges.map(|range| (range.topic.as_str(), range.partition)).collect();
        if of_it.is_empty() {
            let problem = "its row names no offsets, so no trail can have it".to_owned();
            into.faults.push(RowFault::Shard { id: shard.id.to_string(), problem });
        }
        for place in of_it {
            places.entry(place).or_default().push(shard);
        }
    }
    places
}

/// Recomputes one chain. `None`: it is broken, which is found; then nothing that it says can be compared.
async fn recompute(
    catalogue: &Catalogue,
    group: &str,
    account: &Account,
    (topic, partition): (&str, Partition),
    into: &mut VerifiedRows,
) -> Result<Option<TrailCheck>, Error> {
    let end = account.chains.iter().find(|chain| chain.topic == topic && chain.partition == partition);
    let end = end.map_or(0, |chain| chain.sequence);
    let mut check = TrailCheck::default();
    let mut checked = 0;
    let broken = |into: &mut VerifiedRows, problem: String| {
        into.faults.push(RowFault::Trail { topic: topic.to_owned(), partition, problem });
        Ok(None)
    };
    while checked < end {
        let page = catalogue.trail(group, topic, partition, checked, PAGE).await?;
        let before = checked;
        for row in page.iter().filter(|row| row.sequence <= end) {
            if let Err(fault) = check.accept(row) {
                return broken(into, format!("{fault}; what comes after it is not checked"));
            }
            checked = row.sequence;
            into.links += 1;
        }
        if checked == before {
            return broken(into, format!("link {end} was there a moment ago and is gone"));
        }
    }
    into.chains += u64::from(end > 0);
    Ok(Some(check))
}

/// A chain ends where its partition stands: what was cut off its end shows so.
fn check_partition(
    account: &Account,
    (topic, partition): (&str, Partition),
    trail: &TrailCheck,
    into: &mut VerifiedRows,
) {
    let row = account.partitions.iter().find(|row| row.topic == topic && row.partition == partition);
    let said = trail.head().and_then(|head| head.next_offset);
    let offset = |offset: Option<i64>| offset.map_or_else(|| "no offset".to_owned(), |at| at.to_string());
    let problem = match row {
        None => "it has no row, but a trail or a shard tells of it".to_owned(),
        Some(row) if row.next_offset != said => format!(
            "its row stands at {}, its trail ends at {}: links were cut off or added, or the row was changed",
            offset(row.next_offset),
            offset(said)
        ),
        Some(_) => return,
    };
    into.faults.push(RowFault::Partition { topic: topic.to_owned(), partition, problem });
}

/// What the topic lost is just what the chain tells of.
fn check_holes(
    account: &Account,
    (topic, partition): (&str, Partition),
    trail: &TrailCheck,
    into: &mut VerifiedRows,
) {
    let rows = account.holes.iter().filter(|hole| hole.topic == topic && hole.partition == partition);
    let rows: Vec<_> = rows.map(|hole| (hole.sequence, hole.kind, hole.from, hole.to)).collect();
    if rows != trail.holes() {
        let problem = format!(
            "its trail tells of {} holes, {} rows do, and they are not the same: rows were removed, added or changed",
            trail.holes().len(),
            rows.len()
        );
        into.faults.push(RowFault::Partition { topic: topic.to_owned(), partition, problem });
    }
}

/// The live shards of a partition are just those that its trail leaves, and what it says of them.
fn compare(
    account: &Account,
    rows: &[&ShardMeta],
    trail: &TrailCheck,
    partition: Partition,
    differences: &mut Differences,
) {
    let mut differ = |shard: ShardId, problem: String| {
        differences.entry((shard, problem)).or_default().insert(partition);
    };
    for row in rows {
        match trail.live().get(&row.id) {
            None => differ(row.id, "its row is live, but no link has it so".to_owned()),
            Some(link) => {
                if link.sha256 != row.sha256 {
                    differ(
                        row.id,
                        format!("its row has the SHA-256 {}, its link {}", row.sha256, link.sha256),
                    );
                }
                if link.records != row.records {
                    differ(row.id, format!("its row has {} records, its link {}", row.records, link.records));
                }
            }
        }
    }
    let there: BTreeSet<ShardId> = rows.iter().map(|row| row.id).collect();
    for shard in trail.live().keys().filter(|shard| !there.contains(*shard)) {
        // One that cannot be read is told of already.
        if account.unreadable.iter().any(|(id, _)| *id == shard.to_string()) {
            continue;
        }
        let elsewhere = account.shards.iter().any(|row| row.id == *shard);
        let problem = if elsewhere {
            "its link has rows of this partition in it, its row names no such offsets"
        } else {
            "its link has it live, but there is no live row of it"
        };
        differ(*shard, problem.to_owned());
    }
}
