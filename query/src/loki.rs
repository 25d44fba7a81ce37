//! Loki's queries over our records: what a label is, which records a query looks at, and what is computed of them.
//!
//! - A stream's labels are what the resource says, by its names as Loki spells them; `stream` is our stream, `level` the class of the
//!   record's level, where it has one. `detected_level` belongs to the line.
//! - A record's attributes are structured metadata where a query names them: a count is not told apart by what nobody asked for.
//! - The line is the body's text.
//!
//! **Invariant:** whatever the index finds, the query's own stages decide.

mod counted;
mod entries;
mod names;
mod run;

pub use entries::Entries;
pub use names::{Names, label_names};
pub use run::{Logs, Loki, LokiError, Metric};
