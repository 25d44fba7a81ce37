//! Who holds hot rows: the indexer of this process, if there is one, and those whose heartbeats the catalogue has.

mod http;
mod trust;

pub use http::{HttpLeaf, HttpLeaves};
pub use trust::Trust;

use crate::{Metrics, metrics::LeafFailure};
use millrace_catalogue::{Catalogue, Error, NODE_TTL, Node};
use millrace_filter::Filter;
use millrace_model::{Grant, TimeRange};
use millrace_store::{HotRequest, HotResponse, Leaf, LeafError, LeafRequest, Order};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How often indexers are asked for nothing, to learn whether they believe this node.
const GREET_EVERY: Duration = Duration::from_secs(10);

/// What a holder of hot rows said.
#[derive(Debug)]
pub struct LeafAnswer {
    /// Its node.
    pub node: String,
    /// What it found, or why it did not answer.
    pub answer: Result<HotResponse, LeafError>,
    /// How long it was waited for.
    pub took: Duration,
}

impl LeafAnswer {
    async fn of(node: String, search: impl Future<Output = Result<HotResponse, LeafError>>) -> Self {
        let started = Instant::now();
        let answer = search.await;
        Self { node, answer, took: started.elapsed() }
    }

    #[cfg(test)]
    pub(crate) fn at_once(node: &str, answer: Result<HotResponse, LeafError>) -> Self {
        Self { node: node.to_owned(), answer, took: Duration::ZERO }
    }
}

/// Finds and asks the holders of hot rows. `L` is the leaf of this process.
#[derive(Clone)]
pub struct Leaves<L> {
    local: Option<(String, L)>,
    remote: HttpLeaves,
    metrics: Metrics,
    trust: Arc<Trust>,
}

impl<L: Leaf> Leaves<L> {
    /// With the leaf of this process and its node's name, if there is one.
    pub fn new(local: Option<(String, L)>, remote: HttpLeaves, metrics: Metrics) -> Self {
        Self { local, remote, metrics, trust: Arc::default() }
    }

    /// Which indexers do not believe this node: for probes.
    pub fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.trust)
    }

    /// Asks the local leaf and all of `nodes` that have an address, at once. One answer a node.
    pub async fn ask(&self, nodes: &[Node], request: &HotRequest) -> Vec<LeafAnswer> {
        let remote = self.ask_remote(nodes, request);
        let local = async {
            match &self.local {
                Some((name, leaf)) => Some(LeafAnswer::of(name.clone(), leaf.search(request)).await),
                None => None,
            }
        };
        let (local, mut answers) = futures_util::future::join(local, remote).await;
        answers.extend(local);
        answers
    }

    async fn ask_remote(&self, nodes: &[Node], request: &HotRequest) -> Vec<LeafAnswer> {
        let local = self.local.as_ref().map(|(name, _)| name.as_str());
        let asked = nodes
            .iter()
            .filter(|node| node.role == "indexer" && Some(node.id.as_str()) != local)
            .filter_map(|node| Some((node.id.clone(), node.address.clone()?)))
            .map(|(id, address)| async move {
                let leaf = self.remote.at(address);
                LeafAnswer::of(id, leaf.search(request)).await
            });
        let answers = futures_util::future::join_all(asked).await;
        for answer in &answers {
            if let Err(error) = &answer.answer {
                let reason = match error {
                    LeafError::Unreachable { .. } => "unreachable",
                    LeafError::Disbelieved { .. } => "disbelieved",
                    _ => "refused",
                };
                self.metrics.leaf_failures.get_or_create(&LeafFailure { reason }).inc();
            }
        }
        self.trust.learn(&answers);
        answers
    }

    /// Asks all indexers for nothing, now and then until `shutdown`: a node that is kept from searches because it is not
    /// ready learns that it is by no other way.
    pub async fn greet(self, catalogue: Catalogue, shutdown: CancellationToken) {
        loop {
            if let Err(error) = self.greet_once(&catalogue).await {
                tracing::debug!(%error, "indexers could not be looked up");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(GREET_EVERY) => {}
            }
        }
    }

    async fn greet_once(&self, catalogue: &Catalogue) -> Result<(), Error> {
        let nodes = catalogue.nodes(self.remote.now().minus(NODE_TTL)).await?;
        self.ask_remote(&nodes, &nothing()).await;
        Ok(())
    }
}

/// What no row matches.
fn nothing() -> HotRequest {
    HotRequest {
        request: LeafRequest {
            filter: Filter::ALL,
            range: TimeRange::NONE,
            limit: 0,
            order: Order::default(),
            after: None,
            histogram: None,
            fragments: None,
        },
        streams: Some(Vec::new()),
        grant: Grant::Streams(std::collections::BTreeSet::new()),
        published: Vec::new(),
        publish: false,
    }
}
