//! `/loki/api/v1/tail`: lines as they come in, over WebSocket; before them the latest since `start`, where that is said.

use super::{Problem, in_time, loki, parameters::Given};
use crate::{
    http::Api,
    loki::{Entries, Logs},
    tail::{Seen, Watcher},
};
use axum::{
    body::Bytes,
    extract::{
        FromRequest, Request, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    response::{IntoResponse, Response},
};
use millrace_filter::Filter;
use millrace_listen::Caller;
use millrace_logql::{Entry, Pipeline, parse_log};
use millrace_store::{Leaf, Order};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// The most lines that lie before.
const MOST_LINES: usize = 5000;
const LINES: usize = 100;
/// Lines that come at about the same time go together.
const GATHER: Duration = Duration::from_millis(50);
/// The most lines in a message.
const TOGETHER: usize = 500;
/// A client that is not there any more is noticed within about this time.
const PING: Duration = Duration::from_secs(15);

/// Follows a query until the client goes.
pub(super) async fn tail<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let upgrade =
        <WebSocketUpgrade as axum::extract::FromRequestParts<_>>::from_request_parts(&mut parts, &());
    let upgrade = upgrade.await;
    let given = Given::from_request(Request::from_parts(parts, body), &()).await?;
    let text = given.required("query")?;
    let pipeline = parse_log(text).map_err(|error| Problem::Query(Box::new((text.to_owned(), error))))?;
    let limit = given.number("limit", LINES, MOST_LINES)?;
    let now = api.searcher.now().0;
    let start = given.time("start")?;
    let upgrade = upgrade.map_err(|problem| Problem::Parameter(problem.body_text()))?;

    let hour = 3_600_000_000_000;
    let names = in_time(&api, loki(&api, &given).names((now - hour, now))).await?;
    let filter = Filter::new(pipeline.lower(&names));
    let watcher = api.feed.watch(filter, None, api.sight(&given.caller), None).await;
    let watcher = watcher.map_err(|error| Problem::Unavailable(error.to_string()))?;
    let mut before = match start {
        Some(start) => {
            in_time(&api, loki(&api, &given).logs(&pipeline, (start, now), Order::NewestFirst, limit)).await?
        }
        None => Logs::default(),
    };
    before.entries.reverse();
    let caller = given.caller.clone();
    let follow = move |socket| follow(socket, watcher, pipeline, before.entries, caller);
    Ok(upgrade.on_upgrade(follow).into_response())
}

async fn follow(
    mut socket: WebSocket,
    mut watcher: Watcher,
    pipeline: Pipeline,
    before: Vec<Entry>,
    caller: Caller,
) {
    let mut ended = std::pin::pin!(caller.ended());
    let mut entries = Entries::of(&pipeline.to_string());
    let mut waiting = before;
    let mut dropped = 0_u64;
    let mut due = interval_at(Instant::now() + GATHER, GATHER);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pings = interval_at(Instant::now() + PING, PING);
    loop {
        tokio::select! {
            biased;
            () = &mut ended => {
                let frame = CloseFrame { code: close_code::POLICY, reason: reason(&caller).into() };
                let _gone = socket.send(Message::Close(Some(frame))).await;
                return;
            }
            _ = due.tick(), if !waiting.is_empty() || dropped > 0 => {
                let some: Vec<Entry> = waiting.drain(..waiting.len().min(TOGETHER)).collect();
                let message = message(&some, std::mem::take(&mut dropped));
                if socket.send(Message::text(message.to_string())).await.is_err() {
                    return;
                }
            }
            _ = pings.tick() => if socket.send(Message::Ping(Bytes::default())).await.is_err() {
                return;
            },
            received = socket.recv() => match received {
                None | Some(Err(_) | Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {}
            },
            seen = watcher.next(), if waiting.len() < TOGETHER => match seen {
                Ok(Seen::Record(row, _)) => {
                    let mut entry = entries.entry(&row);
                    if pipeline.run(&mut entry) {
                        waiting.push(entry);
                    }
                }
                Ok(Seen::PassedOver { records, .. }) => dropped += records.unwrap_or(1),
                Err(error) => {
                    tracing::warn!(error = millrace_model::chain(&error), "a live tail ends");
                    return;
                }
            },
        }
    }
}

/// Why a socket is closed; no more fits into its frame than 123 bytes.
fn reason(caller: &Caller) -> String {
    let mut reason = caller.why_ended().message;
    reason.truncate(reason.floor_char_boundary(123));
    reason
}

/// Lines by their streams, and how many were left out.
fn message(entries: &[Entry], dropped: u64) -> Value {
    let line = |entry: &Entry| json!({ "stream": entry.labels(), "values": [[entry.timestamp.to_string(), entry.line]] });
    let mut message = json!({ "streams": entries.iter().map(line).collect::<Vec<_>>() });
    if dropped > 0 {
        let time = entries.first().map_or(0, |entry| entry.timestamp).to_string();
        let one = json!({ "labels": { "dropped": dropped.to_string() }, "timestamp": time });
        message["dropped_entries"] = json!([one]);
    }
    message
}
