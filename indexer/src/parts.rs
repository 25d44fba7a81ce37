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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
impl Parts {
    /// The parts of a node called `node`, over an embedded topic `t` of its own and a catalogue and bundles that all nodes of
    /// the folder share.
    pub(crate) async fn in_folder(folder: &std::path::Path, node: &str, clock: Arc<dyn Clock>) -> Self {
        use millrace_transport::{EmbeddedSettings, TopicSettings};
        let topic = TopicSettings::Embedded(EmbeddedSettings::new(folder.join(format!("topic-{node}")), "t"));
        let metrics = millrace_transport::Metrics::new(&mut prometheus_client::registry::Registry::default());
        let work_directory = folder.join(format!("work-{node}"));
        std::fs::create_dir_all(&work_directory).unwrap();
        let (url, shards) = (folder.join("catalogue.db"), folder.join("shards"));
        let bundles = millrace_storage::Settings::new(format!("file://{}", shards.display()), "");
        Self {
            topic: Topic::open(&topic, Arc::clone(&clock), &metrics).await.unwrap(),
            catalogue: Catalogue::open(&format!("sqlite://{}", url.display()), Arc::clone(&clock))
                .await
                .unwrap(),
            bundles: Bundles::open(&bundles).unwrap(),
            work_directory,
            clock,
            metrics: Metrics::default(),
            node: node.to_owned(),
            address: None,
        }
    }
}
