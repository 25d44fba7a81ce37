//! Reads hosts, ships batches: files and journals in, messages of the topic out.
//!
//! Read [`pipeline`] first: it follows a line from the disk to the topic, and the acknowledgement back to the
//! checkpoint. What a line becomes is `millrace-intake`'s; how messages travel is `millrace-transport`'s.
//!
//! **Invariants:**
//! - Every byte of a source lies in exactly one run of one batch, and the ranges of a source's batches touch.
//! - What the topic has not acknowledged is read again after a crash, under the same source and positions.
//! - Memory is bounded: the batches that wait for acknowledgement, and one block and one line a reader.

mod adopt;
mod book;
mod budget;
mod checkpoint;
mod desk;
mod durable;
mod error;
pub mod framing;
mod heartbeat;
mod identity;
mod ingest;
mod metrics;
pub mod pipeline;
pub mod rehearse;
mod settings;
mod ship;
mod source;
mod spools;
mod status;

pub use adopt::{Adopted, ReadPosition, adopt};
pub use error::Error;
pub use framing::{Charset, Multiline};
pub use heartbeat::Heartbeats;
pub use ingest::Ingest;
pub use metrics::Metrics;
pub use pipeline::{Components, run};
pub use settings::{
    Endpoint, FileSettings, HttpSettings, IngestSettings, JournaldSettings, OtlpSettings, Protocol, Settings,
    SourceKind, SourceSettings, SpoolSettings, StdinSettings, SyslogSettings,
};
pub use source::file::named::{Named, named};
pub use source::pushed::{Later, Taken};
pub use status::Status;
