//! The middle of the race: consumes the topic, keeps new records in hot shards where they are found at once, and turns
//! them into sealed shards.
//!
//! Read [`pipeline`] first: it goes forwards, in the order in which a line travels. The indexer does not answer people
//! ([`leaf`] answers query nodes), and it decides nothing about records but where they are kept.
//!
//! **Invariants:**
//! - Only a [`cut`] makes records durable, and it moves offsets, shards and ledger in one transaction.
//! - A partition's hot rows are exactly the new records of the offsets `[held_from, next)` of its owner's epoch.
//! - What is not published when a partition is taken away is dropped here and read again by the successor.
//! - A [`merge`] changes no offset and no record, and happens whole or not at all.

mod census;
pub mod cut;
mod dead_letter;
pub mod leaf;
pub mod merge;
pub mod metrics;
mod orphans;
pub mod parts;
pub mod pipeline;
pub mod publish;
mod quota;
pub mod rebuild;
pub mod retention;
pub mod room;
pub mod route;
pub mod settings;
pub mod shards;
pub mod snapshots;
pub mod templates;

pub use leaf::HotLeaf;
pub use metrics::Metrics;
pub use parts::{Parts, Status};
pub use pipeline::Indexer;
pub use settings::Settings;

/// The consumer group whose offsets and ledger the shards are published with.
pub const GROUP: &str = "indexer";
