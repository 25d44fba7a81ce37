//! `/api/v1/dead-letters`: what could not be taken in and was kept aside; mending it and sending it again.

use super::{
    Api, ApiError,
    described::Time,
    error::ErrorAnswer,
    parameters::{self, ObjectBody, wrong},
};
use crate::dead_letters::{self, DeadLetter, Mend};
use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
};
use millrace_intake::{Parser, Parsers};
use millrace_model::{Partition, SourceId, StreamName, Timestamp, fields::hex, ids::IdError};
use millrace_store::Leaf;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The most letters in one answer.
const MOST: usize = 1_000;
/// How much of a letter's text is shown in lists, in characters.
const PREVIEW: usize = 200;

/// Which letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParameters {
    /// From this number on.
    #[serde(default)]
    #[param(required = false, default = 0)]
    from: i64,
    /// How many.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Letters by number.
#[derive(Serialize, ToSchema)]
pub(super) struct LetterList {
    letters: Vec<LetterTold>,
    /// Where the next ones begin; null: these were the last.
    #[schema(required)]
    next: Option<i64>,
}

/// A message that could not be taken in, or was held back, and was kept aside.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
struct LetterTold {
    number: i64,
    /// When it was put there.
    #[schema(value_type = Time)]
    at: Timestamp,
    state: LetterState,
    /// Why.
    reason: String,
    /// Where it lay first; null: somebody else wrote it.
    #[schema(required)]
    topic: Option<String>,
    #[schema(value_type = Option<i32>, required)]
    partition: Option<Partition>,
    #[schema(required)]
    offset: Option<i64>,
    /// What its agent said of it, where that can be read.
    #[schema(value_type = Option<String>, required)]
    stream: Option<StreamName>,
    #[schema(value_type = Option<String>, required)]
    source: Option<SourceId>,
    #[schema(required)]
    range: Option<RangeTold>,
    /// How large it is.
    bytes: usize,
    /// How its text begins, where it is text.
    #[schema(required)]
    preview: Option<String>,
}

/// Positions of a source.
#[derive(Serialize, ToSchema)]
#[schema(as = PositionRange)]
struct RangeTold {
    start: u64,
    end: u64,
}

/// What became of a letter.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum LetterState {
    /// It is not searchable yet.
    Waiting,
    /// It has come, or is not waited for any more.
    Settled,
}

/// A letter, whole.
#[derive(Serialize, ToSchema)]
#[schema(as = WholeDeadLetter)]
pub(super) struct WholeLetter {
    #[serde(flatten)]
    letter: LetterTold,
    headers: Vec<HeaderTold>,
    value: Content,
}

/// A header of a message.
#[derive(Serialize, ToSchema)]
#[schema(as = MessageHeader)]
struct HeaderTold {
    name: String,
    value: Content,
}

/// Bytes: as text where they are text.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MessageContent)]
enum Content {
    Text(String),
    Hex(String),
}

/// What became of letters that were to be sent again.
#[derive(Serialize, ToSchema)]
pub(super) struct Replayed {
    /// By number.
    sent: Vec<i64>,
    refused: Vec<RefusedLetter>,
}

/// One that was not sent.
#[derive(Serialize, ToSchema)]
struct RefusedLetter {
    number: i64,
    problem: String,
}

/// What is to be sent again, and how it is mended.
#[derive(Debug, Deserialize, ToSchema)]
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
    /// Where the records belong, of messages that are not of an agent.
    stream: Option<String>,
}

/// Letters by number, those that wait and those that have come since.
#[utoipa::path(
    get,
    path = "/api/v1/dead-letters",
    tag = "state",
    operation_id = "deadLetters",
    params(ListParameters),
    responses((status = 200, description = "The letters", body = LetterList))
)]
pub(super) async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    parameters: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Json<LetterList>, ApiError> {
    let Query(parameters) = parameters.map_err(|e| wrong("query string", e.body_text()))?;
    let limit = parameters.limit.unwrap_or(100);
    if !(1..=MOST).contains(&limit) {
        return Err(wrong("limit", format!("1 to {MOST} expected, found {limit}")));
    }
    api.searcher.settle().await?;
    let found = api.dead_letters.list(parameters.from, limit).await.map_err(|e| unreadable(&e))?;
    Ok(Json(LetterList { letters: found.letters.iter().map(describe).collect(), next: found.next }))
}

/// One letter, whole.
#[utoipa::path(
    get,
    path = "/api/v1/dead-letters/{number}",
    tag = "state",
    operation_id = "deadLetter",
    params(("number" = i64, Path, description = "Its number")),
    responses(
        (status = 200, description = "The letter", body = WholeLetter),
        (status = 404, description = "There is none", body = ErrorAnswer)
    )
)]
pub(super) async fn one<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    number: Result<Path<i64>, PathRejection>,
) -> Result<Json<WholeLetter>, ApiError> {
    let Path(number) = number.map_err(|error| wrong("number", error.body_text()))?;
    api.searcher.settle().await?;
    let found = api.dead_letters.one(number).await.map_err(|e| unreadable(&e))?;
    let dead = found.ok_or_else(|| missing(number))?;
    let content = |bytes| match dead_letters::text(bytes) {
        Some(text) => Content::Text(text.to_owned()),
        None => Content::Hex(hex(bytes)),
    };
    let headers = dead.message.headers.iter();
    Ok(Json(WholeLetter {
        letter: describe(&dead),
        headers: headers
            .map(|(name, bytes)| HeaderTold { name: name.clone(), value: content(bytes) })
            .collect(),
        value: content(&dead.message.value),
    }))
}

/// Sends letters again. What is sent becomes searchable in a moment; what cannot be sent is told with its reason.
#[utoipa::path(
    post,
    path = "/api/v1/dead-letters/replay",
    tag = "state",
    operation_id = "replayDeadLetters",
    request_body = ReplayBody,
    responses(
        (status = 200, description = "What became of them", body = Replayed),
        (status = 404, description = "There is no such letter", body = ErrorAnswer)
    )
)]
pub(super) async fn replay<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    body: ObjectBody,
) -> Result<Json<Replayed>, ApiError> {
    let body: ReplayBody = parameters::of_body(body)?;
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
                Err(problem) => refused.push(RefusedLetter { number, problem }),
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
    Ok(Json(Replayed { sent, refused }))
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

fn describe(dead: &DeadLetter) -> LetterTold {
    let (letter, envelope) = (dead.letter.as_ref(), dead.envelope.as_ref());
    let preview = dead_letters::text(&dead.message.value).map(|text| text.chars().take(PREVIEW).collect());
    LetterTold {
        number: dead.number,
        at: dead.at,
        state: if dead.waits { LetterState::Waiting } else { LetterState::Settled },
        reason: dead.reason.clone(),
        topic: letter.map(|letter| letter.topic.clone()),
        partition: letter.map(|letter| letter.partition),
        offset: letter.and_then(|letter| letter.offset),
        stream: envelope.map(|envelope| envelope.stream.clone()),
        source: envelope.map(|envelope| envelope.source),
        range: envelope.map(|envelope| RangeTold { start: envelope.extent.start, end: envelope.extent.end }),
        bytes: dead.message.value.len(),
        preview,
    }
}

fn missing(number: i64) -> ApiError {
    ApiError::NotFound(format!("there is no dead letter {number}"))
}

fn unreadable(error: &anyhow::Error) -> ApiError {
    ApiError::unavailable("dead letters cannot be read", error)
}
