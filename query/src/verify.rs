//! `audit --verify`: is what the catalogue says what was published, and is what lies in storage what the catalogue says?
//!
//! The catalogue holds its trails against its rows ([`Catalogue::verify`]), [`bundles`] the rows against the bundles, of
//! which each tells what it is ([`millrace_store::verify`]), [`snapshots`] reads what a lost catalogue would be made again
//! out of. This owns the account that comes of all; what is wrong with an embedded topic's files joins it.
//!
//! **Invariants:**
//! - Publishes, merges and retention that go on meanwhile are no finding: chains and rows are of one instant, and a bundle
//!   that does not fit counts only while its shard is still live.
//! - What cannot be checked is a finding, never passed over.

mod bundles;
mod snapshots;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;

use crate::INDEXER_GROUP;
use millrace_catalogue::{Catalogue, RowFault};
use millrace_model::{Partition, ShardMeta};
use millrace_storage::Bundles;
use millrace_transport::Flaw;
use serde::Serialize;
use utoipa::ToSchema;

/// How many findings, and how many notices, are told one by one.
const TOLD: usize = 1000;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FindingSubject)]
pub enum Subject {
    /// The hash chain of a partition.
    Trail,
    /// A partition's row.
    Partition,
    /// A shard's row.
    Shard,
    /// What lies in storage.
    Bundle,
    /// A snapshot of the catalogue, which a lost one would be made again out of.
    Snapshot,
    /// A file of an embedded topic.
    Topic,
}

/// Something that is not as it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = VerificationFinding)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// The topic, of trails and partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub topic: Option<String>,
    /// The partition, of trails and partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i32, required = false)]
    pub partition: Option<Partition>,
    /// The shard's id as its row or the trail has it, of shards and bundles.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub shard: Option<String>,
    /// Where its bundle, or the snapshot, lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl Finding {
    fn of_partition(subject: Subject, topic: String, partition: Partition, problem: String) -> Self {
        let (topic, partition) = (Some(topic), Some(partition));
        Self { subject, topic, partition, shard: None, key: None, problem }
    }

    fn of_snapshot(key: &str, problem: String) -> Self {
        let key = Some(key.to_owned());
        Self { subject: Subject::Snapshot, topic: None, partition: None, shard: None, key, problem }
    }

    fn of_bundle(shard: &ShardMeta, problem: String) -> Self {
        let (id, key) = (Some(shard.id.to_string()), Some(shard.key.clone()));
        Self { subject: Subject::Bundle, topic: None, partition: None, shard: id, key, problem }
    }
}

impl From<Flaw> for Finding {
    fn from(flaw: Flaw) -> Self {
        Self::of_partition(Subject::Topic, flaw.topic, flaw.partition, flaw.problem)
    }
}

impl From<RowFault> for Finding {
    fn from(fault: RowFault) -> Self {
        match fault {
            RowFault::Trail { topic, partition, problem } => {
                Self::of_partition(Subject::Trail, topic, partition, problem)
            }
            RowFault::Partition { topic, partition, problem } => {
                Self::of_partition(Subject::Partition, topic, partition, problem)
            }
            RowFault::Shard { id, problem } => Self {
                subject: Subject::Shard,
                topic: None,
                partition: None,
                shard: Some(id),
                key: None,
                problem,
            },
        }
    }
}

/// What was verified, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Verification {
    /// Chains that were recomputed.
    pub chains: u64,
    /// Their links.
    pub links: u64,
    /// Live shards whose rows and bundles were checked.
    pub shards: u64,
    /// The bytes of these bundles.
    pub bytes: u64,
    /// Shards that ended while they were being checked, and so were not.
    pub ended_meanwhile: u64,
    /// The first thousand findings.
    pub findings: Vec<Finding>,
    /// How many there are.
    pub findings_total: u64,
    /// What is worth a look and no finding: the first thousand keys of bundles that no row knows. They may belong to a
    /// publish that is on its way, or have been left behind by one that was killed.
    pub unknown_bundles: Vec<String>,
    /// How many there are.
    pub unknown_bundles_total: u64,
}

impl Verification {
    /// Takes in what is wrong with the files of a topic.
    pub fn take_flaws(&mut self, flaws: Vec<Flaw>) {
        for flaw in flaws {
            self.find(flaw.into());
        }
    }

    fn find(&mut self, finding: Finding) {
        tracing::warn!(
            subject = ?finding.subject, shard = finding.shard, key = finding.key, topic = finding.topic,
            partition = finding.partition.map(|partition| partition.0), problem = finding.problem,
            "verification: a finding"
        );
        self.findings_total += 1;
        if self.findings.len() < TOLD {
            self.findings.push(finding);
        }
    }
}

/// Verifies everything that is published. Reads every live bundle whole, a few at a time, and says in the log how far it is.
///
/// # Errors
/// The catalogue or the list of bundles cannot be read: then nothing is known.
pub async fn verify(catalogue: &Catalogue, bundles: &Bundles) -> anyhow::Result<Verification> {
    let rows = catalogue.verify(INDEXER_GROUP).await?;
    tracing::info!(
        links = rows.links,
        shards = rows.shards.len(),
        bytes = rows.shards.iter().map(|shard| shard.bytes).sum::<u64>(),
        "verification: the trails are read, bundles come next"
    );
    let mut verification = Verification { chains: rows.chains, links: rows.links, ..Verification::default() };
    rows.faults.into_iter().for_each(|fault| verification.find(fault.into()));
    bundles::check(catalogue, bundles, rows.shards, &mut verification).await?;
    bundles::look_for_unknown(catalogue, bundles, &mut verification).await?;
    snapshots::check(catalogue, bundles, &mut verification).await?;
    tracing::info!(
        links = verification.links,
        shards = verification.shards,
        bytes = verification.bytes,
        findings = verification.findings_total,
        "verification ends"
    );
    Ok(verification)
}
