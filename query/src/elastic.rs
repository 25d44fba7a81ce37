//! Elasticsearch's searches over our records. A stream is an index; one that was made with mappings has them in the catalogue.
//!
//! - What a query, an order and aggregations mean is `millrace-elastic`'s; here they are carried out.
//! - A document that is written keeps the id that its client gave it, or one that is made for it, in [`ID`]; a record that came another
//!   way has the id that it has everywhere.
//! - A point in time hides what was observed later. A scroll is kept by the node that began it.

mod indices;
mod scrolls;
mod search;
mod write;

pub use indices::{Index, IndexKeeper};
pub use scrolls::{Scroll, Scrolls};
pub(crate) use search::with_ids;
pub use search::{Elastic, Failed};
pub use write::{Put, Write};

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
