//! Who holds hot rows: the indexer of this process, if there is one, and those whose heartbeats the catalogue has.

use millrace_catalogue::Node;
use millrace_store::{HotRequest, HotResponse, Leaf, LeafError};
use std::time::Duration;

/// How long an indexer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most that an indexer may answer, in bytes.
const MAX_ANSWER: usize = 256 << 20;

/// An indexer asked over HTTP.
#[derive(Debug, Clone)]
pub struct HttpLeaf {
    client: reqwest::Client,
    address: String,
}

impl HttpLeaf {
    fn unreachable(&self, error: &reqwest::Error) -> LeafError {
        LeafError::Unreachable { address: self.address.clone(), problem: chain(error) }
    }
}

impl Leaf for HttpLeaf {
    async fn search(&self, request: &HotRequest) -> Result<HotResponse, LeafError> {
        let url = format!("http://{}/leaf/search", self.address);
        let response = self.client.post(url).json(request).send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        let refused = |problem: String| LeafError::Refused { address: self.address.clone(), problem };
        if !status.is_success() {
            let words: String = String::from_utf8_lossy(&body).chars().take(500).collect();
            return Err(refused(format!("{status}: {words}")));
        }
        if body.len() > MAX_ANSWER {
            return Err(refused(format!("its answer has {} bytes", body.len())));
        }
        serde_json::from_slice(&body).map_err(|e| refused(e.to_string()))
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Finds and asks the holders of hot rows. `L` is the leaf of this process.
#[derive(Debug, Clone)]
pub struct Leaves<L> {
    local: Option<(String, L)>,
    client: reqwest::Client,
}

impl<L: Leaf> Leaves<L> {
    /// With the leaf of this process and its node's name, if there is one.
    pub fn new(local: Option<(String, L)>) -> Result<Self, reqwest::Error> {
        let client =
            reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(Duration::from_secs(2)).build()?;
        Ok(Self { local, client })
    }

    /// Asks the local leaf and all of `nodes` that have an address, at once. One answer a node.
    pub async fn ask(
        &self,
        nodes: &[Node],
        request: &HotRequest,
    ) -> Vec<(String, Result<HotResponse, LeafError>)> {
        let local_name = self.local.as_ref().map(|(name, _)| name.as_str());
        let remote = nodes
            .iter()
            .filter(|node| node.role == "indexer" && Some(node.id.as_str()) != local_name)
            .filter_map(|node| Some((node.id.clone(), node.address.clone()?)))
            .map(|(id, address)| async move {
                let leaf = HttpLeaf { client: self.client.clone(), address };
                (id, leaf.search(request).await)
            });
        let local = async {
            match &self.local {
                Some((name, leaf)) => Some((name.clone(), leaf.search(request).await)),
                None => None,
            }
        };
        let (local, mut answers) =
            futures_util::future::join(local, futures_util::future::join_all(remote)).await;
        answers.extend(local);
        answers
    }
}
