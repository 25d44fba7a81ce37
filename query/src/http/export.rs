//! `/api/v1/export`: the whole answer to a query, however large, as it is found.
//!
//! What is missing from the beginning is said in the header `x-millrace-partial`. What goes wrong once the answer is under way is said
//! in its last line, `{"error":{"code","message"}}`; CSV has no place for that, and breaks off. So it is where the token or session that it was
//! asked for with does not hold any more.

use super::{
    Api, ApiError, csv,
    described::When,
    hit::{Body as Show, hit},
    parameters::{Parameters, Sort, wrong},
    piped::{Made, piped},
    search::{self, object},
};
use crate::{Hits, Missing, search::walk::Walk};
use axum::{
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use millrace_listen::Caller;
use millrace_pipes::Answer;
use millrace_store::Leaf;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{io, sync::Arc};
use utoipa::{IntoParams, ToSchema};

/// So many records are in memory at once.
const PAGE: usize = 10_000;
const PARTIAL: &str = "x-millrace-partial";

/// What is exported, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Export {
    /// The query; absent: everything.
    q: Option<String>,
    /// The first instant; absent: an hour before `to`.
    #[param(value_type = Option<When>)]
    from: Option<String>,
    /// The first instant after; absent: everything up to now, and what claims to be up to a day ahead.
    #[param(value_type = Option<When>)]
    to: Option<String>,
    /// `-timestamp` (newest first) or `timestamp`.
    #[param(value_type = Option<Sort>)]
    sort: Option<String>,
    /// Stream names, with commas between; absent: all that may be seen.
    #[param(pattern = "^[a-z0-9._-]{1,100}(,[a-z0-9._-]{1,100})*$")]
    stream: Option<String>,
    /// Absent: `ndjson`.
    #[param(value_type = Option<Format>)]
    format: Option<String>,
}

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(as = ExportFormat, rename_all = "lowercase")]
pub(super) enum Format {
    Ndjson,
    Csv,
}

/// Streams everything that matches, each record whole.
///
/// As lines of JSON, each a hit, or a row of the table where the query has pipes; or as CSV. What goes missing while it is under way is said
/// in the last line, `{"error":{"code":"partial","message"}}`; CSV breaks off.
#[utoipa::path(
    get,
    path = "/api/v1/export",
    tag = "search",
    operation_id = "export",
    params(Export),
    responses((
        status = 200,
        description = "All of it",
        content((String = "application/x-ndjson"), (String = "text/csv; charset=utf-8")),
        headers(("x-millrace-partial" = String, description = "What may be missing from the beginning, where something may"))
    ))
)]
pub(super) async fn export<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    parameters: Result<Query<Export>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Export { q, from, to, sort, stream, format } = search::given(parameters)?;
    let format = match format.as_deref() {
        None | Some("ndjson") => Format::Ndjson,
        Some("csv") => Format::Csv,
        Some(other) => return Err(wrong("format", format!("ndjson or csv expected, found {other:?}"))),
    };
    let parameters = Parameters { q, from, to, sort, stream, ..Parameters::default() };
    let (request, pipes) = parameters.unlimited(&api.asking(&caller))?;
    if let Some(pipes) = pipes {
        let made = while_it_holds(&caller, piped(&api, &request, &pipes, false));
        let Made { hits, answer: Answer { table, .. }, .. } = made.await?;
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let text =
            format.write(&columns, true, (0..table.rows).map(|row| object(&table, row))).map_err(broken)?;
        return Ok(format.answer(&hits.missing, Body::from(text)));
    }
    let mut walk = Walk::new(request, PAGE);
    let first = while_it_holds(&caller, page(&api, &mut walk)).await?.unwrap_or_default();
    let missing = first.missing.clone();
    let pages = Pages { api, caller, walk, format, known: first.missing, begun: false, ended: false };
    let pages = stream::try_unfold(pages, async |mut pages| {
        Ok::<_, io::Error>(pages.next().await?.map(|text| (text, pages)))
    });
    Ok(format.answer(&missing, Body::from_stream(pages)))
}

fn broken(error: io::Error) -> ApiError {
    ApiError::unavailable("an export cannot be written", &error.into())
}

/// What is asked for, unless whoever asks may not any more.
async fn while_it_holds<T>(
    caller: &Caller,
    asked: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    tokio::select! {
        biased;
        () = caller.ended() => Err(ApiError::Ended(caller.why_ended())),
        answer = asked => answer,
    }
}

async fn page<L: Leaf>(api: &Api<L>, walk: &mut Walk) -> Result<Option<Hits>, ApiError> {
    let page = tokio::time::timeout(api.timeout, walk.next(&api.searcher));
    Ok(page.await.map_err(|_| ApiError::Timeout)??)
}

/// An export under way.
struct Pages<L> {
    api: Arc<Api<L>>,
    caller: Caller,
    walk: Walk,
    format: Format,
    /// What was said to be missing before it began.
    known: Vec<Missing>,
    begun: bool,
    ended: bool,
}

impl<L: Leaf> Pages<L> {
    /// The text of the next page.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let header = !std::mem::replace(&mut self.begun, true);
        let hits = match while_it_holds(&self.caller, page(&self.api, &mut self.walk)).await {
            Ok(None) => {
                self.ended = true;
                return Ok(Some(self.format.write(&csv::HIT, header, std::iter::empty())?));
            }
            Ok(Some(hits)) => hits,
            Err(error @ ApiError::Ended(_)) => return self.break_off(&error.body()),
            Err(error) => return self.break_off(&partial(&error.to_string())),
        };
        if let Some(new) = hits.missing.iter().find(|missing| self.is_news(missing)) {
            return self.break_off(&partial(&new.reason));
        }
        let format = self.format;
        let templates = self.api.searcher.templates().await;
        let written = self.api.searcher.on_a_core(move |_| {
            let mut namer = templates.namer();
            let rows = hits.hits.iter().map(|row| hit(row, Show::Whole, &mut namer));
            format.write(&csv::HIT, header, rows)
        });
        Ok(Some(written.await?))
    }

    /// Is something missing that was there when it began? What the topic has got since is not part of it.
    fn is_news(&self, missing: &Missing) -> bool {
        let is_late = missing.lag.is_some() && !missing.outrun;
        let is_known =
            |known: &Missing| (known.partition, &known.shard) == (missing.partition, &missing.shard);
        !is_late && !self.known.iter().any(is_known)
    }

    /// `last`: what the last line says.
    fn break_off(&mut self, last: &Value) -> io::Result<Option<Bytes>> {
        let reason = last["error"]["message"].as_str().unwrap_or_default();
        tracing::warn!(reason, "an export breaks off");
        self.ended = true;
        match self.format {
            Format::Ndjson => Ok(Some(Bytes::from(format!("{last}\n")))),
            Format::Csv => Err(io::Error::other(reason.to_owned())),
        }
    }
}

fn partial(message: &str) -> Value {
    json!({ "error": { "code": "partial", "message": message } })
}

impl Format {
    /// Rows as text, each an object; of CSV these columns.
    fn write(self, columns: &[&str], header: bool, rows: impl Iterator<Item = Value>) -> io::Result<Bytes> {
        let mut text = Vec::new();
        match self {
            Self::Ndjson => {
                for row in rows {
                    serde_json::to_writer(&mut text, &row)?;
                    text.push(b'\n');
                }
            }
            Self::Csv => {
                let names = header.then(|| columns.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
                let cells = rows.map(|row| columns.iter().map(|name| csv::cell(&row[*name])).collect());
                csv::write(&mut text, names.into_iter().chain(cells))?;
            }
        }
        Ok(Bytes::from(text))
    }

    fn answer(self, missing: &[Missing], body: Body) -> Response {
        let kind = match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        };
        let mut response = ([(header::CONTENT_TYPE, kind)], body).into_response();
        if let Some(first) = missing.first() {
            let reason = first.reason.replace(|c: char| !(' '..='~').contains(&c), "?");
            let reason = HeaderValue::from_str(&reason).unwrap_or(HeaderValue::from_static("yes"));
            response.headers_mut().insert(PARTIAL, reason);
        }
        response
    }
}
