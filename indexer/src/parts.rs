//! What an indexer is made of, and what a probe can ask of it.

use crate::Metrics;
use millrace_catalogue::Catalogue;
use millrace_model::Clock;
use millrace_storage::Bundles;
use millrace_transport::Topic;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// What an indexer is made of.
pub struct Parts {
    /// The topic.
    pub topic: Topic,
    /// The commit point.
    pub catalogue: Catalogue,
    /// Where bundles lie.
    pub bundles: Bundles,
    /// Where bundles are made; on the same disk as the bundles, best.
    pub work_directory: PathBuf,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// This node's name in the catalogue.
    pub node: String,
    /// Where query nodes reach this one's leaf, as `host:port`; `None`: only this process asks it.
    pub address: Option<String>,
}

/// What a probe can ask.
#[derive(Debug, Default)]
pub struct Status {
    publishing: Mutex<Option<String>>,
    consuming: Mutex<Option<String>>,
    room: Mutex<Option<String>>,
}

impl Status {
    /// The reasons why this indexer is not ready; none: it is.
    pub fn problems(&self) -> Vec<String> {
        [&self.publishing, &self.consuming, &self.room]
            .into_iter()
            .filter_map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    pub(crate) fn publishing(&self, problem: Option<String>) {
        *self.publishing.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    pub(crate) fn room(&self, problem: Option<String>) {
        *self.room.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    pub(crate) fn consuming(&self, problem: Option<String>) {
        *self.consuming.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}
