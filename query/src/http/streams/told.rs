//! What is answered of streams.

use crate::http::described::{FieldType, Time};
use millrace_model::{Declarations, StreamName, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// All streams that may be seen.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct StreamList {
    pub(super) streams: Vec<StreamTold>,
}

/// A stream: what lies in it, and how long it is kept.
#[derive(Serialize, ToSchema)]
#[schema(as = Stream)]
pub(in crate::http) struct StreamTold {
    #[schema(value_type = String)]
    pub(super) name: StreamName,
    pub(super) shards: u64,
    /// Those that are in shards.
    pub(super) records: u64,
    /// Of the shards' bundles.
    pub(super) bytes: u64,
    /// The time of the earliest record in shards.
    #[schema(value_type = Option<Time>, required)]
    pub(super) first: Option<Timestamp>,
    /// The time of the latest.
    #[schema(value_type = Option<Time>, required)]
    pub(super) last: Option<Timestamp>,
    pub(super) retention_seconds: u64,
    /// Null: it is not bounded by its size.
    #[schema(required)]
    pub(super) retention_bytes: Option<u64>,
    /// Null: it is not on hold.
    #[schema(required)]
    pub(super) hold: Option<HoldTold>,
    /// Deletions that not all shards have been through.
    pub(super) deletions_pending: usize,
    /// What was declared of its fields; null: nothing is in shards yet.
    #[schema(required)]
    pub(super) fields: Option<FieldsTold>,
}

/// Nothing of a stream ends while it is on hold.
#[derive(Serialize, ToSchema)]
#[schema(as = Hold)]
pub(in crate::http) struct HoldTold {
    pub(super) reason: String,
    #[schema(value_type = Time)]
    pub(super) since: Timestamp,
}

/// What was declared of a stream's fields, and what did not keep to it.
#[derive(Serialize, ToSchema)]
#[schema(as = StreamFields)]
pub(in crate::http) struct FieldsTold {
    /// The declarations that hold in shards.
    pub(super) declared: Vec<DeclaredTold>,
    /// How many records have a value of another type than was declared, by field.
    pub(super) conflicts: BTreeMap<String, u64>,
    /// How many records were kept whole because the stream had brought as many fields as it may.
    pub(super) beyond_max_fields: u64,
}

/// Declarations, and in how many shards they hold.
#[derive(Serialize, ToSchema)]
#[schema(as = DeclaredFields)]
pub(in crate::http) struct DeclaredTold {
    pub(super) version: String,
    /// By field.
    #[schema(value_type = BTreeMap<String, FieldType>)]
    pub(super) types: Declarations,
    pub(super) shards: u64,
}

/// A hold that was set, or null where it was ended.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct HoldAnswer {
    #[schema(required)]
    pub(super) hold: Option<StreamHold>,
}

/// A stream that is on hold.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct StreamHold {
    #[schema(value_type = String)]
    pub(super) stream: StreamName,
    pub(super) reason: String,
    #[schema(value_type = Time)]
    pub(super) since: Timestamp,
}

/// All deletions of a stream, the latest first.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DeletionList {
    pub(super) deletions: Vec<DeletionTold>,
}

/// A deletion by query, and how far it has come: its receipt.
#[derive(Serialize, ToSchema)]
#[schema(as = Deletion)]
pub(in crate::http) struct DeletionTold {
    pub(super) number: u64,
    #[schema(value_type = String)]
    pub(super) stream: StreamName,
    pub(super) state: DeletionState,
    /// What it matches; null once nothing is left that it could match.
    #[schema(required)]
    pub(super) q: Option<String>,
    pub(super) q_sha256: String,
    /// Null: from the beginning.
    #[schema(value_type = Option<Time>, required)]
    pub(super) from: Option<Timestamp>,
    /// Null: without an end.
    #[schema(value_type = Option<Time>, required)]
    pub(super) to: Option<Timestamp>,
    pub(super) reason: String,
    /// Since then no search shows what it matches.
    #[schema(value_type = Time)]
    pub(super) requested: Timestamp,
    /// How many were removed so far.
    pub(super) records: u64,
    /// How many shards may still hold some.
    pub(super) shards_left: u64,
    /// Since when none does.
    #[schema(value_type = Option<Time>, required)]
    pub(super) purged: Option<Timestamp>,
    /// Until when the topic may still have them; null: nobody can say.
    #[schema(value_type = Option<Time>, required)]
    pub(super) topic_copy_expires: Option<Timestamp>,
}

/// How far a deletion has come.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum DeletionState {
    /// No search shows what it matches.
    Hidden,
    /// And no shard holds it.
    Purged,
}
