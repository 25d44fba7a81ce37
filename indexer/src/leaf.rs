//! Answers searches over hot rows: in process, or for query nodes over HTTP.

use crate::shards::{HeldPartition, Shards};
use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use millrace_store::{HotPart, HotRequest, HotResponse, Leaf, LeafError, LeafResponse};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a search waits for messages that are on their way.
const CATCH_UP: Duration = Duration::from_millis(250);

/// The rows of one indexer, as a leaf.
#[derive(Debug, Clone)]
pub struct HotLeaf {
    shards: Arc<Shards>,
}

impl HotLeaf {
    /// Over these shards.
    pub fn new(shards: Arc<Shards>) -> Self {
        Self { shards }
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
    pub fn search_now(&self, request: &HotRequest) -> HotResponse {
        if request.publish {
            self.shards.want_cut();
        }
        let topic = self.shards.topic();
        let parts =
            self.shards.held().into_iter().map(|held| search_partition(topic, &held, request)).collect();
        HotResponse { parts }
    }

    /// `POST /leaf/search`, for query nodes.
    pub fn router(self) -> Router {
        Router::new().route("/leaf/search", post(answer)).with_state(self)
    }
}

impl Leaf for HotLeaf {
    async fn search(&self, request: &HotRequest) -> Result<HotResponse, LeafError> {
        self.catch_up().await;
        let (leaf, request) = (self.clone(), request.clone());
        tokio::task::spawn_blocking(move || leaf.search_now(&request)).await.map_err(|error| {
            LeafError::Refused {
                address: "the indexer of this process".to_owned(),
                problem: error.to_string(),
            }
        })
    }
}

async fn answer(State(leaf): State<HotLeaf>, Json(request): Json<HotRequest>) -> impl IntoResponse {
    match leaf.search(&request).await {
        Ok(response) => Json(response).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn search_partition(topic: &str, held: &HeldPartition, request: &HotRequest) -> HotPart {
    let owned = &held.owned;
    // What the asker's catalogue had published it finds in sealed shards; a catalogue that knew another incarnation of
    // the topic had published nothing of this one.
    let published = request
        .published
        .iter()
        .find(|p| p.topic == topic && p.partition == held.partition && p.topic_id == owned.topic_id)
        .map_or(0, |p| p.next_offset);
    let order = request.request.order;
    let limit = request.request.limit;
    let response = held
        .rows
        .iter()
        .filter(|(stream, _)| request.streams.as_ref().is_none_or(|streams| streams.contains(stream)))
        .map(|(_, rows)| rows.search(&request.request, published))
        .fold(LeafResponse::default(), |all, one| all.merge(one, order, limit));
    HotPart {
        topic: topic.to_owned(),
        topic_id: owned.topic_id,
        partition: held.partition,
        epoch: owned.epoch,
        held_from: owned.held_from,
        held_to: owned.next,
        end: owned.end,
        response,
    }
}
