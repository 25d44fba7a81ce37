//! `/api/v1/dead-letters`: what could not be taken in and was kept aside; mending it and sending it again.

use super::{Api, ApiError, parameters::wrong};
use crate::dead_letters::{self, DeadLetter, Mend};
use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
};
use millrace_intake::{Parser, Parsers};
use millrace_model::{StreamName, fields::hex, ids::IdError};
use millrace_store::Leaf;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The most letters in one answer.
const MOST: usize = 1_000;
/// How much of a letter's text is shown in lists, in characters.
const PREVIEW: usize = 200;

/// Which letters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParameters {
    /// From this number on.
    #[serde(default)]
    from: i64,
    limit: Option<usize>,
}

/// What is to be sent again, and how it is mended.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayBody {
    /// By number.
    letters: Option<Vec<i64>>,
    /// All that wait.
    #[serde(default)]
    all: bool,
    /// What the one letter should have said.
    text: Option<String>,
    /// What it says is lines, to be read by these parsers.
    parse: Option<Vec<String>>,
    stream: Option<String>,
}

/// Letters by number, those that wait and those that have come since.
pub async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    parameters: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(parameters) = parameters.map_err(|e| wrong("query string", e.body_text()))?;
    let limit = parameters.limit.unwrap_or(100);
    if !(1..=MOST).contains(&limit) {
        return Err(wrong("limit", format!("1 to {MOST} expected, found {limit}")));
    }
    api.searcher.settle().await?;
    let found = api.dead_letters.list(parameters.from, limit).await.map_err(|e| unreadable(&e))?;
    let letters: Vec<Value> = found.letters.iter().map(describe).collect();
    Ok(Json(json!({ "letters": letters, "next": found.next })))
}

/// One letter, whole.
pub async fn one<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    Path(number): Path<i64>,
) -> Result<Json<Value>, ApiError> {
    api.searcher.settle().await?;
    let dead =
        api.dead_letters.one(number).await.map_err(|e| unreadable(&e))?.ok_or_else(|| missing(number))?;
    let mut value = describe(&dead);
    let text = |bytes| match dead_letters::text(bytes) {
        Some(text) => json!({ "text": text }),
        None => json!({ "hex": hex(bytes) }),
    };
    let header = |(name, bytes)| json!({ "name": name, "value": text(bytes) });
    value["headers"] = dead.message.headers.iter().map(|(name, bytes)| header((name, bytes))).collect();
    value["value"] = text(&dead.message.value);
    Ok(Json(value))
}

/// Sends letters again. What is sent becomes searchable in a moment; what cannot be sent is told with its reason.
pub async fn replay<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    body: Result<Json<ReplayBody>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(body) = body.map_err(|e| wrong("body", e.body_text()))?;
    let mend = mend(&body)?;
    let numbers = match (body.letters, body.all) {
        (Some(numbers), false) => Some(numbers),
        (None, true) => None,
        _ => return Err(wrong("letters", "either `letters` or `all: true` expected".to_owned())),
    };
    if mend.text.is_some() && numbers.as_ref().is_none_or(|numbers| numbers.len() != 1) {
        return Err(wrong("text", "one letter is mended by text at a time".to_owned()));
    }
    api.searcher.settle().await?;
    let (mut sent, mut refused) = (Vec::new(), Vec::new());
    let mut replay = async |letters: Vec<DeadLetter>| {
        let outcomes = api
            .dead_letters
            .replay(letters, &mend)
            .await
            .map_err(|error| ApiError::unavailable("the topic cannot be written to", &error))?;
        for (number, outcome) in outcomes {
            match outcome {
                Ok(()) => sent.push(number),
                Err(problem) => refused.push(json!({ "number": number, "problem": problem })),
            }
        }
        Ok::<(), ApiError>(())
    };
    if let Some(numbers) = numbers {
        for number in numbers {
            let letter = api.dead_letters.one(number).await.map_err(|e| unreadable(&e))?;
            replay(vec![letter.ok_or_else(|| missing(number))?]).await?;
        }
    } else {
        let mut from = Some(0);
        while let Some(number) = from {
            let found = api.dead_letters.list(number, MOST).await.map_err(|e| unreadable(&e))?;
            from = found.next;
            replay(found.letters).await?;
        }
    }
    tracing::info!(sent = sent.len(), refused = refused.len(), "dead letters were sent again");
    Ok(Json(json!({ "sent": sent, "refused": refused })))
}

fn mend(body: &ReplayBody) -> Result<Mend, ApiError> {
    let parser = |name: &String| {
        let known = Parser::NAMES.iter().find(|(known, _)| known == name);
        let names = || Parser::NAMES.map(|(name, _)| name).join(", ");
        known
            .map(|(_, parser)| parser.clone())
            .ok_or_else(|| wrong("parse", format!("{} expected, found {name:?}", names())))
    };
    let parsers = body.parse.as_ref().map(|names| names.iter().map(parser).collect::<Result<Parsers, _>>());
    let stream = body
        .stream
        .as_ref()
        .map(|name| name.parse::<StreamName>().map_err(|error: IdError| wrong("stream", error.to_string())));
    Ok(Mend { text: body.text.clone(), parsers: parsers.transpose()?, stream: stream.transpose()? })
}

fn describe(dead: &DeadLetter) -> Value {
    let stream = dead.envelope.as_ref().map(|envelope| &envelope.stream);
    let preview =
        dead_letters::text(&dead.message.value).map(|text| text.chars().take(PREVIEW).collect::<String>());
    json!({
        "number": dead.number,
        "at": dead.at,
        "state": if dead.waits { "waiting" } else { "settled" },
        "reason": dead.reason,
        "topic": dead.letter.as_ref().map(|letter| &letter.topic),
        "partition": dead.letter.as_ref().map(|letter| letter.partition),
        "offset": dead.letter.as_ref().map(|letter| letter.offset),
        "stream": stream,
        "source": dead.envelope.as_ref().map(|envelope| envelope.source),
        "range": dead.envelope.as_ref().map(|e| json!({ "start": e.extent.start, "end": e.extent.end })),
        "bytes": dead.message.value.len(),
        "preview": preview,
    })
}

fn missing(number: i64) -> ApiError {
    ApiError::NotFound(format!("there is no dead letter {number}"))
}

fn unreadable(error: &anyhow::Error) -> ApiError {
    ApiError::unavailable("dead letters cannot be read", error)
}
