//! Elasticsearch's searches over our records. A stream is an index; one that was made with mappings has them in the catalogue.
//!
//! - What a query, an order and aggregations mean is `millrace-elastic`'s; here they are carried out.
//! - A document that is written keeps the id that its client gave it, or one that is made for it, in [`ID`]; a record that came another
//!   way has the id that it has everywhere.
//! - A point in time hides what was observed later. A scroll is kept by the node that began it.
//! - Documents that clients change lie in the catalogue: those of the indices that settings name. Nothing of them is in a shard.

mod change;
mod collections;
mod indices;
mod scrolls;
mod search;
mod write;

pub(crate) use change::{decide, shown};
pub use collections::{Collections, MAX_DOCUMENT};
pub use indices::{Index, IndexKeeper};
pub use scrolls::{Scroll, Scrolls};
pub use search::{Elastic, Failed};
pub(crate) use search::{id_of, with_ids};
pub use write::{Put, Write};

/// What clients are told where the catalogue fails.
pub(crate) fn unreadable(error: &millrace_catalogue::Error) -> millrace_elastic::Error {
    tracing::error!(%error, "the catalogue cannot be read");
    let told = format!("the catalogue cannot be read: {error}");
    millrace_elastic::Error { status: 503, ..millrace_elastic::Error::unavailable(told) }
}

/// What is kept for all requests.
pub struct Kept {
    /// What was said of indices.
    pub indices: IndexKeeper,
    /// Scrolls that are open.
    pub scrolls: Scrolls,
    /// Where documents go; `None`: none are taken in.
    pub put: Option<Put>,
    /// Where this node is asked.
    pub address: String,
}

/// The attribute that holds a document's id.
pub const ID: &str = "elastic.id";
