//! An indexer asked over HTTP. Where the cluster has a secret, each request proves that it comes from there.

use millrace_model::{Clock, Timestamp, chain};
use millrace_store::{ClusterKey, HotRequest, HotResponse, Leaf, LeafError};
use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use std::{sync::Arc, time::Duration};

/// How long an indexer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most that an indexer may answer, in bytes.
const MAX_ANSWER: usize = 256 << 20;
/// Where leaves are asked.
const PATH: &str = "/leaf/search";

/// What all indexers are asked with.
#[derive(Clone)]
pub struct HttpLeaves {
    client: reqwest::Client,
    key: Option<ClusterKey>,
    clock: Arc<dyn Clock>,
}

impl HttpLeaves {
    /// With the cluster's `key`, if it has a secret.
    pub fn new(key: Option<ClusterKey>, clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        let client =
            reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(Duration::from_secs(2)).build()?;
        Ok(Self { client, key, clock })
    }

    /// What time it is.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The indexer at `host:port`.
    pub fn at(&self, address: String) -> HttpLeaf {
        HttpLeaf { with: self.clone(), address }
    }
}

/// See the module.
#[derive(Clone)]
pub struct HttpLeaf {
    with: HttpLeaves,
    address: String,
}

impl HttpLeaf {
    fn unreachable(&self, error: &reqwest::Error) -> LeafError {
        LeafError::Unreachable { address: self.address.clone(), problem: chain(error) }
    }

    fn refused(&self, problem: String) -> LeafError {
        LeafError::Refused { address: self.address.clone(), problem }
    }

    /// The request, signed at this moment.
    fn post(&self, body: Vec<u8>) -> reqwest::RequestBuilder {
        let HttpLeaves { client, key, clock } = &self.with;
        let mut post = client.post(format!("http://{}{PATH}", self.address));
        if let Some(key) = key {
            post = post.header(AUTHORIZATION, key.prove(PATH, &body, clock.now()));
        }
        post.header(CONTENT_TYPE, "application/json").body(body)
    }
}

impl Leaf for HttpLeaf {
    async fn search(&self, request: &HotRequest) -> Result<HotResponse, LeafError> {
        let body = serde_json::to_vec(request).map_err(|error| self.refused(error.to_string()))?;
        let response = self.post(body).send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        if !status.is_success() {
            let words: String = String::from_utf8_lossy(&body).chars().take(500).collect();
            if status == StatusCode::UNAUTHORIZED {
                return Err(LeafError::Disbelieved { address: self.address.clone(), problem: words });
            }
            return Err(self.refused(format!("{status}: {words}")));
        }
        if body.len() > MAX_ANSWER {
            return Err(self.refused(format!("its answer has {} bytes", body.len())));
        }
        serde_json::from_slice(&body).map_err(|e| self.refused(e.to_string()))
    }
}
