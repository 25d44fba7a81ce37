//! Answers people: searches over sealed shards and hot rows, the ledger's account, alerts from rules on the stream, and
//! the web page.
//!
//! A search travels [`http`] → [`search::plan`] → [`search::fanout`] → [`search::merge`] → [`http`]. Detection is its own
//! consumer of the topic ([`alert::watch`]) and meets searching only in the catalogue.
//!
//! **Invariants:**
//! - An answer that may lack something says so, and what: `partial` and `missing`.
//! - Each offset of a partition is answered for once: by sealed shards below the catalogue's next offset, by the hot rows
//!   of the highest epoch from there on.

pub mod alert;
pub mod context;
pub mod dead_letters;
pub mod elastic;
pub mod hosts;
pub mod http;
pub mod leaves;
pub mod login;
pub mod loki;
pub mod metrics;
pub mod pipeline;
pub mod search;
pub mod settings;
pub mod shards;
pub mod tail;
pub mod templates;
pub mod verify;

pub use leaves::{HttpLeaf, HttpLeaves, Leaves};
pub use metrics::Metrics;
pub use search::{Hits, Missing, SearchRequest, Searcher};
pub use settings::Settings;
pub use templates::KnownTemplates;

/// The consumer group whose shards and ledger are searched and audited.
pub const INDEXER_GROUP: &str = "indexer";
/// The consumer group of the rules.
pub const DETECT_GROUP: &str = "detect";
/// Under which it consumes what partitions hand on to slices.
pub const MATCHES_GROUP: &str = "detect.matches";
