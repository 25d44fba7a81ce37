//! Shards: hot row buffers, sealed tantivy indexes, and searching both.
//!
//! - [`HotShard`] takes rows and has them searchable at once, by [`search_rows`].
//! - [`seal`] turns rows into one bundle file; [`SealedShard`] opens and searches it.
//! - A [`Fragment`](millrace_pipes::Fragment) of a query's pipes is carried out on the columns of either.
//! - [`Templates`] tells which template a record's line stands for, under the merges that are known.
//! - [`LeafRequest`], [`LeafResponse`] and [`Leaf`] are how a search reaches shards and comes back.
//!
//! **Invariant:** for the same rows and the same request both searches give the same answer; `sealed/tests.rs` holds
//! them to it. **Invariant:** nothing outside this crate knows what a document is. It is synchronous: callers bring the
//! threads.

mod bits;
mod blocks;
mod bundle;
mod bytes;
mod chunks;
mod column;
mod directory;
mod error;
mod hot;
mod index;
mod leaf;
mod plan;
mod rules;
#[cfg(test)]
mod sample;
mod scan;
mod seal;
mod sealed;
mod shape;
mod shaper;
mod strings;
mod templates;
mod terms;
mod threads;
mod time_text;
mod zstd_frame;

pub use bundle::{BundleFault, ByteRanges, SCHEMA_VERSION, Verified, verify, verify_from};
pub use error::Error;
pub use hot::{HotRow, HotRows, HotShard, Unruly};
pub use leaf::{
    CLOCKS_WITHIN, ClusterKey, Disbelief, HotPart, HotRequest, HotResponse, Leaf, LeafError, LeafRequest,
    LeafResponse, Order, Place, Published,
};
pub use rules::FieldRules;
pub use scan::GroupCounts;
pub use seal::{Deletion, MergeInput, SealInput, SealedBundle, merge, seal};
pub use sealed::{ChunksTold, SealedShard, TextPlace};
pub use shaper::Shaper;
pub use templates::{Merge, Namer, TemplateId, Templates};
pub use threads::Threads;
