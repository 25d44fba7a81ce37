//! Copies of verdicts in the topic `<topic>.verdicts`, for whoever learns of them elsewhere: under the alert's id what it was found to
//! be, and nothing where that was taken back. What is to be copied is noted with each change of a verdict, in its transaction,
//! and settled when the topic has it: a crash between copies it again, and of a key the last message is what holds.

use millrace_catalogue::Catalogue;
use millrace_model::{
    Partition, chain,
    wire::{self, Payload},
};
use millrace_transport::{AnyProducer, Producer, Topic};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// It is looked so often what is to be copied.
const EVERY: Duration = Duration::from_secs(1);
/// Where it cannot be copied, it is tried again after this.
const RETRY: Duration = Duration::from_secs(5);
/// So many are copied at once.
const AT_ONCE: u32 = 100;
/// One node copies; another takes over when it has said nothing for so long.
const LEASE: Duration = Duration::from_secs(30);
/// Its name.
const LEASE_NAME: &str = "verdicts";
/// The topic has one partition.
const AT: Partition = Partition(0);

/// Where copies go. Returns when all of them are durable there.
trait Copies {
    async fn put(&mut self, copies: Vec<Payload>) -> anyhow::Result<()>;
}

/// Copies verdicts until `shutdown`; where the topic has no other beside it that keeps them, there is nothing to do until then.
pub async fn run(topic: Topic, catalogue: Catalogue, node: String, shutdown: CancellationToken) {
    let mut copies = OfTopic { topic, producer: None };
    if matches!(copies.topic, Topic::Embedded(_) | Topic::Http(_)) {
        return shutdown.cancelled().await;
    }
    loop {
        let pause = match copy(&catalogue, &node, &mut copies).await {
            Ok(copied) if copied == AT_ONCE as usize => Duration::ZERO,
            Ok(_) => EVERY,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "verdicts cannot be copied; they wait");
                RETRY
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Copies some of what is to be copied, unless another node does. Returns how much that was.
async fn copy(catalogue: &Catalogue, node: &str, copies: &mut impl Copies) -> anyhow::Result<usize> {
    let some = catalogue.uncopied_verdicts(AT_ONCE).await?;
    if some.is_empty() || !catalogue.lease(LEASE_NAME, node, LEASE).await? {
        return Ok(0);
    }
    let mut payloads = Vec::with_capacity(some.len());
    for (alert, _) in &some {
        let verdict = catalogue.verdict(alert).await?;
        let json = verdict.map(|verdict| serde_json::to_string(&verdict)).transpose()?;
        payloads.push(wire::verdict(alert, json));
    }
    copies.put(payloads).await?;
    for (alert, revision) in &some {
        if !catalogue.verdict_copied(alert, *revision).await? {
            tracing::info!(
                alert.id = alert,
                "another node has copied a verdict, too; it is copied once more"
            );
        }
    }
    Ok(some.len())
}

/// The topic beside that of the records.
struct OfTopic {
    topic: Topic,
    producer: Option<(AnyProducer, mpsc::Receiver<millrace_transport::DeliveryReport>)>,
}

impl Copies for OfTopic {
    async fn put(&mut self, copies: Vec<Payload>) -> anyhow::Result<()> {
        if self.producer.is_none() {
            let Some(topic) = self.topic.verdicts().await? else { return Ok(()) };
            let (reports, delivered) = mpsc::channel(AT_ONCE as usize);
            self.producer = Some((topic.producer(reports)?, delivered));
        }
        let outcome = self.deliver(copies).await;
        if outcome.is_err() {
            // Reports of what was not waited for would be taken for those of other messages.
            self.producer = None;
        }
        outcome
    }
}

impl OfTopic {
    async fn deliver(&mut self, copies: Vec<Payload>) -> anyhow::Result<()> {
        let Some((producer, delivered)) = &mut self.producer else { return Ok(()) };
        let mut under_way = copies.len();
        for (ticket, payload) in copies.into_iter().enumerate() {
            producer.send(AT, payload, ticket as u64).await?;
        }
        while under_way > 0 {
            let Some(report) = delivered.recv().await else { anyhow::bail!("the producer ended") };
            if let Err(rejected) = report.outcome {
                // It never will be taken: the others are not held up by it.
                tracing::error!(error = chain(&rejected), "a verdict is not copied");
            }
            under_way -= 1;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::alert::fixtures;
    use millrace_catalogue::{Verdict, VerdictKind, VerdictScope};
    use millrace_model::{ManualClock, Timestamp};
    use std::{collections::BTreeMap, sync::Arc};

    /// A topic that may fail, before or behind the messages.
    #[derive(Default)]
    struct Kept {
        log: Vec<(String, Option<serde_json::Value>)>,
        refuses: bool,
        breaks_off: bool,
    }

    impl Copies for Kept {
        async fn put(&mut self, copies: Vec<Payload>) -> anyhow::Result<()> {
            anyhow::ensure!(!self.refuses, "the broker is away");
            self.log.extend(copies.into_iter().map(|payload| {
                let json =
                    (!payload.value.is_empty()).then(|| serde_json::from_slice(&payload.value).unwrap());
                (String::from_utf8(payload.key.to_vec()).unwrap(), json)
            }));
            anyhow::ensure!(!self.breaks_off, "nobody hears that it has them");
            Ok(())
        }
    }

    impl Kept {
        /// What is left where of each key the last message is kept, and one without a value ends it.
        fn compacted(&self) -> BTreeMap<String, String> {
            let mut last: BTreeMap<String, String> = BTreeMap::new();
            for (key, json) in &self.log {
                match json {
                    Some(json) => {
                        drop(last.insert(key.clone(), json["verdict"].as_str().unwrap().to_owned()));
                    }
                    None => drop(last.remove(key)),
                }
            }
            last
        }
    }

    async fn catalogue() -> (Catalogue, Arc<ManualClock>, tempfile::TempDir) {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let (catalogue, clock, folder) = fixtures::catalogue(now).await;
        catalogue.upsert_alerts(&["a", "b"].map(|id| fixtures::alert(id, now))).await.unwrap();
        (catalogue, clock, folder)
    }

    async fn give(catalogue: &Catalogue, id: &str, kind: VerdictKind) {
        let verdict = Verdict {
            alert_id: id.to_owned(),
            rule_id: "r".into(),
            fingerprint: id.to_owned(),
            group: BTreeMap::new(),
            verdict: kind,
            reason: String::new(),
            scope: VerdictScope::This,
            expires: None,
            given: Timestamp(1),
            given_by: String::new(),
        };
        assert!(catalogue.give_verdict(&verdict).await.unwrap());
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, verdict)| ((*key).to_owned(), (*verdict).to_owned())).collect()
    }

    #[tokio::test]
    async fn what_is_given_is_copied_and_what_is_taken_back_ends() {
        let (catalogue, _, _folder) = catalogue().await;
        let mut kept = Kept::default();
        assert_eq!(copy(&catalogue, "n", &mut kept).await.unwrap(), 0);
        give(&catalogue, "a", VerdictKind::FalsePositive).await;
        give(&catalogue, "b", VerdictKind::Benign).await;
        assert_eq!(copy(&catalogue, "n", &mut kept).await.unwrap(), 2);
        assert_eq!(kept.compacted(), pairs(&[("a", "false_positive"), ("b", "benign")]));
        assert_eq!(copy(&catalogue, "n", &mut kept).await.unwrap(), 0);
        give(&catalogue, "a", VerdictKind::TruePositive).await;
        catalogue.take_back_verdict("b").await.unwrap();
        assert_eq!(copy(&catalogue, "n", &mut kept).await.unwrap(), 2);
        assert_eq!(kept.compacted(), pairs(&[("a", "true_positive")]));
        assert_eq!(kept.log.last().unwrap(), &("b".to_owned(), None));
    }

    #[tokio::test]
    async fn whatever_fails_nothing_is_lost() {
        let (catalogue, _, _folder) = catalogue().await;
        let mut kept = Kept { refuses: true, ..Kept::default() };
        give(&catalogue, "a", VerdictKind::FalsePositive).await;
        assert!(copy(&catalogue, "n", &mut kept).await.is_err());
        (kept.refuses, kept.breaks_off) = (false, true);
        assert!(copy(&catalogue, "n", &mut kept).await.is_err());
        catalogue.take_back_verdict("a").await.unwrap();
        kept.breaks_off = false;
        assert_eq!(copy(&catalogue, "n", &mut kept).await.unwrap(), 1);
        assert_eq!((kept.log.len(), kept.compacted()), (2, BTreeMap::new()));
        assert!(catalogue.uncopied_verdicts(1).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn one_node_copies_and_another_takes_over() {
        let (catalogue, clock, _folder) = catalogue().await;
        let mut kept = Kept::default();
        give(&catalogue, "a", VerdictKind::FalsePositive).await;
        assert_eq!(copy(&catalogue, "one", &mut kept).await.unwrap(), 1);
        give(&catalogue, "b", VerdictKind::Benign).await;
        assert_eq!(copy(&catalogue, "other", &mut kept).await.unwrap(), 0);
        clock.advance(LEASE);
        assert_eq!(copy(&catalogue, "other", &mut kept).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_old_copy_that_comes_late_is_followed_by_the_present_one() {
        let (catalogue, clock, _folder) = catalogue().await;
        give(&catalogue, "a", VerdictKind::FalsePositive).await;
        // The first node looks, and stands still.
        let looked = catalogue.uncopied_verdicts(10).await.unwrap();
        let old =
            catalogue.verdict("a").await.unwrap().map(|verdict| serde_json::to_string(&verdict).unwrap());
        give(&catalogue, "a", VerdictKind::TruePositive).await;
        let mut kept = Kept::default();
        assert_eq!(copy(&catalogue, "other", &mut kept).await.unwrap(), 1);
        kept.put(vec![wire::verdict("a", old)]).await.unwrap();
        assert_eq!(kept.compacted(), pairs(&[("a", "false_positive")]));
        assert!(!catalogue.verdict_copied(&looked[0].0, looked[0].1).await.unwrap());
        clock.advance(LEASE);
        assert_eq!(copy(&catalogue, "one", &mut kept).await.unwrap(), 1);
        assert_eq!(kept.compacted(), pairs(&[("a", "true_positive")]));
    }
}
