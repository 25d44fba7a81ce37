//! `/api/v1/audit`: the ledger's account of every source, with all that is in the topic when it is asked, and what the topic
//! lost; with `verify=true` also the [verification](crate::verify) of what is published.

mod clones;
mod readers;

use super::{Api, ApiError, described};
use crate::{INDEXER_GROUP, Missing, verify::Verification};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use millrace_catalogue::{HoleKind, OffsetHole, StoredSource};
use millrace_ledger::{Span, Spans, Verdict, audit as account};
use millrace_model::{
    AgentId, InstanceId, Partition, SourceId, StreamName,
    wire::{SkipReason, SourceClose, SourceOpen},
};
use millrace_store::Leaf;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::{IntoParams, ToSchema};

/// What may be asked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Parameters {
    /// Only sources whose path matches: `*` and `?` as in file names.
    source: Option<String>,
    /// Is the hash chain to be recomputed, and every bundle read?
    #[serde(default)]
    #[param(required = false, default = false)]
    verify: bool,
}

/// The ledger's account.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
pub(super) struct Accounts {
    /// Nothing is missing, of no source.
    complete: bool,
    /// Of all sources that are told.
    records: u64,
    /// What is not in this account.
    missing: Vec<Missing>,
    /// What the topic lost.
    holes: Vec<HoleTold>,
    /// The incomplete ones first.
    sources: Vec<SourceTold>,
    /// Where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    verification: Option<Verification>,
}

/// A source's account: which of its bytes are indexed, which were left out and why, which are missing.
#[derive(Serialize, ToSchema)]
#[schema(as = SourceAccount)]
struct SourceTold {
    #[schema(value_type = String)]
    source: SourceId,
    topic: String,
    #[schema(value_type = i32)]
    partition: Partition,
    #[schema(value_type = String)]
    stream: StreamName,
    #[schema(value_type = described::Verdict)]
    verdict: Verdict,
    /// Ranges that never came.
    #[schema(value_type = Vec<described::Span>)]
    holes: Vec<Span>,
    /// Destroyed unread, at least.
    lost_bytes: u64,
    /// How many bytes are accounted for.
    covered: u64,
    /// Which.
    #[schema(value_type = Vec<described::Span>)]
    ranges: Spans,
    records: u64,
    /// Of those that are accounted for, what made no record, by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    skipped: BTreeMap<SkipReason, u64>,
    /// What of that lies among dead letters, and can still come.
    aside: u64,
    /// What came again, and was dropped.
    duplicate_bytes: u64,
    /// Records that are whole although a part of them had been covered before.
    reframed: u64,
    /// Null: its first message never came.
    #[schema(value_type = Option<described::SourceOpen>, required)]
    open: Option<SourceOpen>,
    /// Null: it has not ended.
    #[schema(value_type = Option<described::SourceClose>, required)]
    close: Option<SourceClose>,
    #[schema(value_type = Option<String>, required)]
    agent: Option<AgentId>,
    #[schema(value_type = Option<String>, required)]
    instance: Option<InstanceId>,
    #[schema(required)]
    epoch: Option<u64>,
    /// The source that two senders claimed, of which this is what the second one sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    stray_of: Option<SourceId>,
    /// What is worth a look, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    notice: Option<String>,
}

/// Offsets that the topic does not have any more.
#[derive(Serialize, ToSchema)]
#[schema(as = TopicHole)]
struct HoleTold {
    #[serde(flatten)]
    #[schema(value_type = described::OffsetHole)]
    hole: OffsetHole,
    messages: u64,
    /// In words.
    #[schema(value_type = String)]
    notice: &'static str,
}

/// The account of all sources that match, the incomplete ones first.
///
/// With all that is in the topic when it is asked: what is not published yet is published for it.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "state",
    operation_id = "audit",
    params(Parameters),
    responses((status = 200, description = "The account", body = Accounts))
)]
pub(super) async fn audit<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Accounts>, ApiError> {
    let Query(parameters) =
        parameters.map_err(|e| ApiError::Parameter { name: "query string", problem: e.body_text() })?;
    let missing = api.searcher.settle().await?;
    let stored = api.searcher.catalogue().all_sources(INDEXER_GROUP).await?;
    let holes = api.searcher.catalogue().holes(INDEXER_GROUP).await?;
    let (clones, readers) = (clones::clones(&stored), readers::second_readers(&stored));
    let mut sources: Vec<(bool, SourceTold)> = stored
        .iter()
        .filter(|source| parameters.source.as_ref().is_none_or(|glob| matches_glob(glob, path(source))))
        .map(|source| describe(source, clones.get(&source.id), readers.get(&source.id)))
        .collect();
    sources.sort_by_key(|(complete, _)| *complete);
    let mut answer = Accounts {
        // What is not in the account cannot be called complete. What the topic lost may have been of any source.
        complete: missing.is_empty() && holes.is_empty() && sources.iter().all(|(complete, _)| *complete),
        records: sources.iter().map(|(_, source)| source.records).sum(),
        missing,
        holes: holes.into_iter().map(describe_hole).collect(),
        sources: sources.into_iter().map(|(_, source)| source).collect(),
        verification: None,
    };
    if parameters.verify {
        let failed = |error| ApiError::unavailable("what is published cannot be verified", &error);
        let mut verification = api.searcher.verify().await.map_err(failed)?;
        verification.take_flaws(api.topic.verify().await.map_err(|error| failed(error.into()))?);
        answer.verification = Some(verification);
    }
    Ok(Json(answer))
}

fn path(source: &StoredSource) -> &str {
    source.state.open.as_ref().map_or("", |open| &open.path)
}

/// A source's account, and whether nothing is amiss with it.
fn describe(source: &StoredSource, clone: Option<&String>, reader: Option<&String>) -> (bool, SourceTold) {
    let state = &source.state;
    let account = account(state);
    // Two senders that claim one source are a finding even though nothing is lost.
    let complete = account.is_complete() && state.stray_of.is_none() && clone.is_none();
    let moved = state.open.as_ref().filter(|open| open.because.as_deref() == Some("instance"));
    let notice = if state.stray_of.is_some() {
        Some("two agents claimed to be the same one; this is what the second one sent".to_owned())
    } else if let Some(notice) = clone {
        Some(notice.clone())
    } else if let Some(before) = moved {
        let before = before.continues.map(|id| id.to_string()).unwrap_or_default();
        Some(format!("the agent's state folder was moved: this goes on from source {before}"))
    } else {
        reader.cloned()
    };
    let told = SourceTold {
        source: source.id,
        topic: source.topic.clone(),
        partition: source.partition,
        stream: state.stream.clone(),
        verdict: account.verdict,
        holes: account.holes,
        lost_bytes: account.lost,
        covered: account.covered,
        ranges: state.covered.clone(),
        records: state.records,
        skipped: state.skipped.clone(),
        aside: state.aside.length(),
        duplicate_bytes: state.duplicate_bytes,
        reframed: state.reframed,
        open: state.open.clone(),
        close: state.close.clone(),
        agent: state.sender.map(|sender| sender.agent),
        instance: state.sender.map(|sender| sender.instance),
        epoch: state.sender.map(|sender| sender.epoch),
        stray_of: state.stray_of,
        notice,
    };
    (complete, told)
}

fn describe_hole(hole: OffsetHole) -> HoleTold {
    let notice = match hole.kind {
        HoleKind::Removed => "the topic's own retention removed these messages before they were indexed",
        HoleKind::SteppedBack => {
            "the topic ended here although all of this was indexed: it had lost its end, and what else it lost there is not \
             known; or it was another one of the same name"
        }
    };
    HoleTold { messages: hole.to.abs_diff(hole.from), hole, notice }
}

/// `*` any characters, `?` one; everything else itself.
fn matches_glob(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    let mut retry = None;
    while t < text.len() {
        if g < glob.len() && glob[g] == '*' {
            retry = Some((g, t));
            g += 1;
        } else if g < glob.len() && (glob[g] == '?' || glob[g] == text[t]) {
            (g, t) = (g + 1, t + 1);
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            (g, t) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_paths() {
        for (glob, text, expected) in [
            ("*", "", true),
            ("/var/log/*.log", "/var/log/app.log", true),
            ("/var/log/*.log", "/var/log/app.log.1", false),
            ("*a*b", "xxaxxbxb", true),
            ("?", "é", true),
            ("a", "", false),
        ] {
            assert_eq!(matches_glob(glob, text), expected, "{glob} {text}");
        }
    }
}
