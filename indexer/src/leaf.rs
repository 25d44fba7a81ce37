//! Answers searches over hot rows: in process, or for query nodes over HTTP. Over HTTP it believes nodes of its own cluster
//! only, where the cluster has a secret; and nobody is shown a stream that the request does not grant.

use crate::{
    Metrics,
    metrics::Reason,
    shards::{HeldPartition, Shards},
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::post,
};
use millrace_cores::{Cores, Piece};
use millrace_model::Clock;
use millrace_store::{
    ClusterKey, Disbelief, Error, HotPart, HotRequest, HotResponse, Leaf, LeafError, LeafResponse, Threads,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long a search waits for messages that are on their way.
const CATCH_UP: Duration = Duration::from_millis(250);
/// How often strangers are told of in the log, at most; all of them are counted.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// The rows of one indexer, as a leaf.
#[derive(Debug, Clone)]
pub struct HotLeaf {
    shards: Arc<Shards>,
    cores: Cores,
}

impl HotLeaf {
    /// Over these shards, on cores that it shares with whoever else searches in this process.
    pub fn new(shards: Arc<Shards>, cores: Cores) -> Self {
        Self { shards, cores }
    }

    /// Waits a moment for what is in the topic already and on its way, so that a steady stream does not make every
    /// answer partial.
    async fn catch_up(&self) {
        let ends = self.shards.ends();
        let deadline = Instant::now() + CATCH_UP;
        while !self.shards.reached(&ends) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Searches all rows as they stand now. Blocks a thread: uses a core for as long as the rows take.
    ///
    /// # Errors
    /// `threads` say that nobody waits for the answer any more.
    pub fn search_now(&self, request: &HotRequest, threads: &dyn Threads) -> Result<HotResponse, Error> {
        if request.publish {
            self.shards.want_cut();
        }
        let topic = self.shards.topic();
        let held = self.shards.held();
        let parts = held.iter().map(|held| search_partition(topic, held, request, threads));
        Ok(HotResponse { parts: parts.collect::<Result<_, _>>()? })
    }

    /// `POST /leaf/search`, for query nodes that can prove that they have the cluster's `key`; without one, for everybody.
    pub fn router(self, key: Option<ClusterKey>, clock: Arc<dyn Clock>, metrics: Metrics) -> Router {
        let door = Door { leaf: self, key, clock, metrics, told: Mutex::default() };
        Router::new().route("/leaf/search", post(answer)).with_state(Arc::new(door))
    }
}

/// What stands between the network and a leaf.
struct Door {
    leaf: HotLeaf,
    key: Option<ClusterKey>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// When strangers were last told of.
    told: Mutex<Option<Instant>>,
}

impl Door {
    /// Does the request come from this cluster? Refusals are counted, and told of now and then.
    fn admit(&self, headers: &HeaderMap, uri: &Uri, body: &[u8]) -> Result<(), Disbelief> {
        let Some(key) = &self.key else { return Ok(()) };
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let believed = key.believe(header, uri.path(), body, self.clock.now());
        if let Err(disbelief) = believed {
            self.metrics.refused_requests.get_or_create(&Reason { reason: disbelief.reason() }).inc();
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
                *told = Some(Instant::now());
                tracing::warn!(reason = %disbelief, "a search of rows in memory is refused");
            }
        }
        believed
    }
}

impl Leaf for HotLeaf {
    async fn search(&self, request: &HotRequest) -> Result<HotResponse, LeafError> {
        self.catch_up().await;
        // Whoever drops this future, a search that was given up or a node that has hung up, ends what it began.
        let (search, _waiting) = self.cores.search();
        let turn = search.turn(Piece::Near).await;
        let (leaf, request) = (self.clone(), request.clone());
        let refused = |problem: String| LeafError::Refused {
            address: "the indexer of this process".to_owned(),
            problem,
        };
        let searching = tokio::task::spawn_blocking(move || leaf.search_now(&request, &turn));
        let answer = searching.await.map_err(|error| refused(error.to_string()))?;
        answer.map_err(|error| refused(error.to_string()))
    }
}

async fn answer(State(door): State<Arc<Door>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(disbelief) = door.admit(&headers, &uri, &body) {
        return (StatusCode::UNAUTHORIZED, disbelief.to_string()).into_response();
    }
    let request: HotRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match door.leaf.search(&request).await {
        Ok(response) => Json(response).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn search_partition(
    topic: &str,
    held: &HeldPartition,
    request: &HotRequest,
    threads: &dyn Threads,
) -> Result<HotPart, Error> {
    let owned = &held.owned;
    // What the asker's catalogue had published it finds in sealed shards; a catalogue that knew another incarnation of
    // the topic had published nothing of this one.
    let published = request
        .published
        .iter()
        .find(|p| p.topic == topic && p.partition == held.partition && p.topic_id == owned.topic_id)
        .map_or(0, |p| p.next_offset);
    let shown =
        held.rows.iter().filter(|(stream, _)| request.grant.shows(request.streams.as_deref(), stream));
    let mut response = LeafResponse::default();
    for (_, rows) in shown {
        response = response.merge(rows.search(&request.request, published, Some(threads))?, &request.request);
    }
    Ok(HotPart {
        topic: topic.to_owned(),
        topic_id: owned.topic_id,
        partition: held.partition,
        epoch: owned.epoch,
        held_from: owned.held_from,
        held_to: owned.next,
        end: owned.end,
        waits_ms: held.waits.map(|waits| waits.as_millis() as u64),
        response,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
