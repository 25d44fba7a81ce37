//! `/api/v1/audit`: the ledger's account of every source, with all that is in the topic when it is asked, and what the topic
//! lost; with `verify=true` also the [verification](crate::verify) of what is published.

mod clones;
mod readers;

use super::{Api, ApiError};
use crate::INDEXER_GROUP;
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use millrace_catalogue::{HoleKind, OffsetHole, StoredSource};
use millrace_ledger::audit as account;
use millrace_store::Leaf;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What may be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Only sources whose path matches: `*` and `?` as in file names.
    source: Option<String>,
    /// Is the hash chain to be recomputed, and every bundle read?
    #[serde(default)]
    verify: bool,
}

/// All sources that match, the incomplete ones first.
pub async fn audit<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(parameters) =
        parameters.map_err(|e| ApiError::Parameter { name: "query string", problem: e.body_text() })?;
    let missing = api.searcher.settle().await?;
    let stored = api.searcher.catalogue().all_sources(INDEXER_GROUP).await?;
    let holes = api.searcher.catalogue().holes(INDEXER_GROUP).await?;
    let (clones, readers) = (clones::clones(&stored), readers::second_readers(&stored));
    let mut sources: Vec<(bool, Value)> = stored
        .iter()
        .filter(|source| parameters.source.as_ref().is_none_or(|glob| matches_glob(glob, path(source))))
        .map(|source| describe(source, clones.get(&source.id), readers.get(&source.id)))
        .collect();
    sources.sort_by_key(|(complete, _)| *complete);
    // What is not in the account cannot be called complete. What the topic lost may have been of any source.
    let complete = missing.is_empty() && holes.is_empty() && sources.iter().all(|(complete, _)| *complete);
    let records: u64 = sources.iter().filter_map(|(_, source)| source["records"].as_u64()).sum();
    let sources: Vec<Value> = sources.into_iter().map(|(_, source)| source).collect();
    let holes: Vec<Value> = holes.iter().map(describe_hole).collect();
    let mut answer = json!({
        "complete": complete, "records": records, "missing": missing, "holes": holes, "sources": sources
    });
    if parameters.verify {
        let failed = |error| ApiError::unavailable("what is published cannot be verified", &error);
        let mut verification = api.searcher.verify().await.map_err(failed)?;
        verification.take_flaws(api.topic.verify().await.map_err(|error| failed(error.into()))?);
        answer["verification"] = json!(verification);
    }
    Ok(Json(answer))
}

fn path(source: &StoredSource) -> &str {
    source.state.open.as_ref().map_or("", |open| &open.path)
}

/// A source's account, and whether nothing is amiss with it.
fn describe(source: &StoredSource, clone: Option<&String>, reader: Option<&String>) -> (bool, Value) {
    let state = &source.state;
    let account = account(state);
    // Two senders that claim one source are a finding even though nothing is lost.
    let complete = account.is_complete() && state.stray_of.is_none() && clone.is_none();
    let mut value = json!({
        "source": source.id, "topic": source.topic, "partition": source.partition, "stream": state.stream,
        "verdict": account.verdict, "holes": account.holes, "lost_bytes": account.lost, "covered": account.covered,
        "ranges": state.covered, "records": state.records, "skipped": state.skipped,
        "aside": state.aside.length(),
        "duplicate_bytes": state.duplicate_bytes, "reframed": state.reframed, "open": state.open, "close": state.close,
        "agent": state.sender.map(|s| s.agent), "instance": state.sender.map(|s| s.instance),
        "epoch": state.sender.map(|s| s.epoch),
    });
    if let Some(base) = state.stray_of {
        value["stray_of"] = json!(base);
        value["notice"] = json!("two agents claimed to be the same one; this is what the second one sent");
    } else if let Some(notice) = clone {
        value["notice"] = json!(notice);
    } else if let Some(before) =
        state.open.as_ref().filter(|open| open.because.as_deref() == Some("instance"))
    {
        value["notice"] = json!(format!(
            "the agent's state folder was moved: this goes on from source {}",
            before.continues.map(|id| id.to_string()).unwrap_or_default()
        ));
    } else if let Some(notice) = reader {
        value["notice"] = json!(notice);
    }
    (complete, value)
}

fn describe_hole(hole: &OffsetHole) -> Value {
    let mut value = json!(hole);
    value["messages"] = json!(hole.to.abs_diff(hole.from));
    let notice = match hole.kind {
        HoleKind::Removed => "the topic's own retention removed these messages before they were indexed",
        HoleKind::SteppedBack => {
            "the topic ended here although all of this was indexed: it had lost its end, and what else it lost there is not \
             known; or it was another one of the same name"
        }
    };
    value["notice"] = json!(notice);
    value
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
