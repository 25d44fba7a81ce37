//! How many partitions the topic has. One that was added to it and that no indexer has taken over yet may hold messages
//! already: nobody but the topic knows of it.

use super::Missing;
use millrace_catalogue::PartitionRow;
use millrace_model::Partition;
use millrace_transport::Topic;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often the topic is asked.
const EVERY: Duration = Duration::from_secs(5);

/// What the topic last said.
#[derive(Debug, Default)]
pub struct Partitions(Mutex<Option<(String, u32)>>);

impl Partitions {
    /// Asks the topic now and then, until `shutdown`. While it cannot be asked, it is what it was.
    pub async fn watch(&self, topic: &Topic, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match topic.partitions().await {
                Ok(count) => self.are(topic.name(), count),
                Err(error) => tracing::debug!(%error, "the topic does not say how many partitions it has"),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    fn are(&self, topic: &str, count: u32) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((topic.to_owned(), count));
    }

    /// The partitions that no indexer has taken over yet, if these are all that one has.
    pub fn untaken(&self, rows: &[PartitionRow]) -> Vec<Missing> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((topic, count)) = known else { return Vec::new() };
        let numbers = (0..count).map(|number| Partition(number as i32));
        let untaken = numbers
            .filter(|number| !rows.iter().any(|row| row.topic == topic && row.partition == *number))
            .map(|partition| Missing {
                partition: Some(partition),
                ..Missing::of(format!("no indexer has taken partition {partition} of {topic} over yet"))
            });
        untaken.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_was_added_is_missing_until_somebody_has_it() {
        let row = |topic: &str, partition| PartitionRow {
            topic: topic.to_owned(),
            topic_id: None,
            partition: Partition(partition),
            next_offset: None,
            owner_epoch: 1,
            owner: "a".to_owned(),
        };
        let partitions = Partitions::default();
        let untaken = |rows: &[PartitionRow]| {
            partitions.untaken(rows).into_iter().filter_map(|missing| missing.partition).collect::<Vec<_>>()
        };
        assert_eq!(untaken(&[]), [], "nothing is known yet");
        partitions.are("t", 3);
        assert_eq!(untaken(&[row("t", 0), row("other", 1)]), [Partition(1), Partition(2)]);
        assert_eq!(untaken(&[row("t", 0), row("t", 1), row("t", 2)]), []);
    }
}
