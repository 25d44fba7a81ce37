//! A glance at a topic from outside, for whoever asks whether all is well: nothing is made, written or waited for.

use crate::{Error, HttpTopic, Metrics, TopicSettings, embedded::earliest_stored, kafka};
use millrace_model::Partition;

/// What is seen of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Glance {
    /// How many partitions it has; 0: it is not there.
    pub partitions: u32,
    /// How many brokers its cluster has; `None`: it is not a cluster's.
    pub brokers: Option<usize>,
    /// Partitions of which fewer copies are up to date than there should be.
    pub behind: Vec<Partition>,
    /// Partitions that cannot be written to: no broker leads them.
    pub without_leader: Vec<Partition>,
}

/// Looks. Asks the brokers, or the other host, once; of an embedded topic only its folder is looked at, whoever uses it.
///
/// # Errors
/// The settings are refused, nobody answers within five seconds, or the folder cannot be read.
pub async fn glance(settings: &TopicSettings) -> Result<Glance, Error> {
    match settings {
        TopicSettings::Kafka(settings) => {
            let settings = settings.clone();
            tokio::task::spawn_blocking(move || kafka::glance(&settings)).await.map_err(|_| Error::Closed)?
        }
        TopicSettings::Embedded(settings) => {
            let settings = settings.clone();
            let look = move || {
                if !settings.directory.join(&settings.name).is_dir() {
                    return Ok(0);
                }
                earliest_stored(&settings.directory, &settings.name).map(|found| found.len() as u32)
            };
            let partitions = tokio::task::spawn_blocking(look).await.map_err(|_| Error::Closed)??;
            Ok(Glance { partitions, ..Glance::default() })
        }
        TopicSettings::Http(settings) => {
            let topic = HttpTopic::open(settings.clone(), &Metrics::default()).await?;
            Ok(Glance { partitions: topic.partitions().await?, ..Glance::default() })
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{EmbeddedSettings, KafkaSettings, Topic};
    use millrace_model::ManualClock;
    use std::sync::Arc;

    #[tokio::test]
    async fn looking_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let settings = EmbeddedSettings::new(folder.path().join("topic"), "t");
        let settings = TopicSettings::Embedded(EmbeddedSettings { partitions: 3, ..settings });
        assert_eq!(glance(&settings).await.unwrap(), Glance::default());
        assert!(!folder.path().join("topic").exists());
        let clock = Arc::new(ManualClock::default());
        let open = Topic::open(&settings, clock, &Metrics::default()).await.unwrap();
        // It is in use, and looked at all the same.
        assert_eq!(glance(&settings).await.unwrap().partitions, 3);
        drop(open);
    }

    #[tokio::test]
    async fn nobody_who_answers_is_an_error() {
        let settings = TopicSettings::Kafka(KafkaSettings::new(vec!["127.0.0.1:1".to_owned()], "t"));
        assert!(matches!(glance(&settings).await, Err(Error::Unreachable { .. })));
    }
}
