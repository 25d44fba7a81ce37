//! `/api/v1/tail`: records as they come in, as server-sent events.
//!
//! | event | data |
//! |---|---|
//! | `record` | a hit |
//! | `dropped` | `{"records"?, "messages"?, "reason"}`: what was not shown, and why |
//! | `heartbeat` | `{"cursor"}`, also where nothing comes |
//! | `ended` | `{"error":{"code","message"}}`: the token or session does not hold any more; nothing comes after it |
//!
//! Each has a cursor as its id: whoever comes back with it, as `cursor` or as `Last-Event-ID`, goes on there.

use super::{
    Api, ApiError,
    hit::{Body, hit},
    parameters::{stream_names, wrong},
    search,
};
use crate::tail::{Cursor, Seen, Watcher};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{
    future::BoxFuture,
    stream::{self, Stream},
};
use millrace_listen::Caller;
use millrace_store::{Leaf, Templates};
use serde::Deserialize;
use serde_json::json;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use utoipa::IntoParams;

/// So often it is told that all is well.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What is watched.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Parameters {
    /// A filter; absent: everything.
    q: Option<String>,
    /// Stream names, with commas between.
    stream: Option<String>,
    /// Where to go on.
    cursor: Option<String>,
}

/// Streams records as they come in, until the client goes.
///
/// Server-sent events: `record` (a hit), `dropped` (`{"records"?,"messages"?,"reason"}`: what was not shown, and why) and `heartbeat`
/// (`{"cursor"}`). Each has a cursor as its id: whoever comes back with it, as `cursor` or as `Last-Event-ID`, goes on there.
#[utoipa::path(
    get,
    path = "/api/v1/tail",
    tag = "search",
    operation_id = "tail",
    params(
        Parameters,
        ("last-event-id" = Option<String>, Header, description = "Where to go on, unless `cursor` says it")
    ),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream"))
)]
pub(super) async fn tail<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let parameters = search::given(parameters)?;
    let filter = millrace_filter::parse(parameters.q.as_deref().unwrap_or("*"))?;
    let streams = parameters.stream.as_deref().map(stream_names).transpose()?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let from = parameters.cursor.as_deref().or(last).filter(|text| !text.is_empty());
    let from = from.map(str::parse::<Cursor>).transpose().map_err(|e| wrong("cursor", e.to_string()))?;
    let watcher = api.feed.watch(filter, streams, api.sight(&caller), from).await;
    let watcher = watcher.map_err(|error| ApiError::Unavailable(error.to_string()))?;
    let templates = api.searcher.templates().await;
    let mut heartbeats = tokio::time::interval_at(Instant::now(), HEARTBEAT);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = Box::pin(caller.ended());
    let tail = Tail { api, watcher, templates, heartbeats, caller, ended, is_over: false };
    let events = stream::unfold(tail, async |mut tail| Some((Ok(tail.next().await?), tail)));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Tail<L> {
    api: Arc<Api<L>>,
    watcher: Watcher,
    templates: Arc<Templates>,
    heartbeats: Interval,
    caller: Caller,
    /// The caller may not watch any more.
    ended: BoxFuture<'static, ()>,
    is_over: bool,
}

impl<L: Leaf> Tail<L> {
    /// The next event; `None`: the topic cannot be read, and the client had better come again, or all was said.
    async fn next(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        let seen = tokio::select! {
            biased;
            () = &mut self.ended => {
                self.is_over = true;
                let error = ApiError::Ended(self.caller.why_ended()).body();
                return Some(Event::default().event("ended").data(error.to_string()));
            }
            _ = self.heartbeats.tick() => None,
            seen = self.watcher.next() => Some(seen),
        };
        let (event, data) = match seen {
            None => {
                self.templates = self.api.searcher.templates().await;
                ("heartbeat", json!({ "cursor": self.watcher.cursor().to_string() }))
            }
            Some(Ok(Seen::Record(row, _))) => ("record", hit(&row, Body::Cut, &mut self.templates.namer())),
            Some(Ok(Seen::PassedOver { records, messages, reason })) => {
                ("dropped", json!({ "records": records, "messages": messages, "reason": reason }))
            }
            Some(Err(error)) => {
                tracing::warn!(error = millrace_model::chain(&error), "a live tail ends");
                return None;
            }
        };
        Some(Event::default().event(event).id(self.watcher.cursor().to_string()).data(data.to_string()))
    }
}
