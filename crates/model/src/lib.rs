//! The facts that every room shares: what a record is, when it happened, who sent it, which words it holds,
//! and the bytes that carry it over the topic.
//!
//! **Invariant:** imports nothing of ours and does no I/O, so nothing in here can block or fail for reasons outside
//! its arguments. [`wire`] is the only place that makes or reads message bytes; [`text`] is the only tokeniser,
//! [`declared`] the only place where a value is made one of another type.

pub mod chain;
pub mod declared;
pub mod fields;
pub mod grant;
pub mod ids;
mod masks;
pub mod number;
pub mod record;
pub mod severity;
pub mod shard;
pub mod suggest;
pub mod text;
pub mod time;
pub mod value;
pub mod wire;

pub use chain::chain;
pub use declared::{Declarations, DeclarationsVersion, FieldType};
pub use fields::{FieldRef, Fields, ValueRef};
pub use grant::{Grant, Sight};
pub use ids::{
    AgentId, BootId, InstanceId, Partition, RecordId, ShardId, SourceId, SpoolId, StreamName, TopicId,
};
pub use masks::{HIDDEN, Masks, NotHidden};
pub use number::Number;
pub use record::{LogRecord, Row};
pub use severity::Severity;
pub use shard::{OffsetRange, ShardFields, ShardMeta};
pub use suggest::closest;
pub use time::{Clock, ManualClock, SystemClock, TimeRange, Timestamp};
pub use value::{Attributes, Value};
