//! What turns input into batches: [`parse`] makes records of lines, [`process`] changes and drops them, [`redact`] takes
//! out what must not leave, and a [`Batch`] gathers records until they are worth a message. What is pushed waits in a [`spool`].
//!
//! Pure and synchronous: no clock, and no I/O but that of [`spool`]. Where lines begin and end is not decided here.
//!
//! **Invariants:**
//! - Parsing never fails and never loses a byte of the line: what cannot be read stays whole as the body, with the
//!   reason in `log.parse_error`.
//! - Only [`Redacted`] enters a batch, and only redaction makes one.
//! - The runs of a batch tile its range; its checksum is that of the raw bytes.

pub mod batch;
pub mod parse;
pub mod process;
pub mod redact;
pub mod smaller;
pub mod spool;

pub use batch::{Batch, Heading, Limits, Sealed, Seam};
pub use parse::{Parser, Parsers};
pub use process::Process;
pub use redact::{Policy, Redacted};
pub use smaller::{Smaller, readdress, smaller, without_rejected};
pub use spool::Spool;
