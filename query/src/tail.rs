//! Records as they come in: the topic, read in no group behind a ledger of its own, once for everybody who watches.
//!
//! [`Feed`] reads, while somebody watches, and keeps what came last in a [`ring`]. Each [`Watcher`] goes through it at its own
//! pace; one that is too slow is told how many records it was not shown. Where it stands is a [`Cursor`], a vector of offsets:
//! who comes back with one goes on there, out of the ring or out of the topic itself, and misses nothing that the topic still
//! has.
//!
//! **Invariants:**
//! - Between two cursors of a watcher, each record of the topic was shown, or did not match, or was counted as passed over.
//! - A record that an agent sent twice is shown once, as far as the ledger that is published knows both or this feed has read
//!   both; it is rather shown again than left out.

mod cursor;
mod feed;
mod ring;
mod watcher;

pub use cursor::Cursor;
pub use feed::{Feed, FeedParts, NotNow};
pub use watcher::{Seen, Watcher};

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
