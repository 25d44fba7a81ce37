//! What the catalogue knows of all that is stored and of all that is missing, as metrics. It is asked now and then, and the
//! less often the longer it takes; a scrape never asks it. All indexers of a group tell the same.

use crate::{GROUP, metrics::Stored, parts::Parts};
use millrace_catalogue::StreamTier;
use millrace_ledger::audit;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How often it is asked, at most.
const EVERY: Duration = Duration::from_secs(10);
/// So many times what it took it is left alone.
const REST: u32 = 100;
/// How many sources are read at once.
const SOME: u32 = 1000;
/// How many streams are told of by name: those that take the most room. The others are one.
const STREAMS: usize = 50;
/// What the others are called: no stream can be.
pub(crate) const OTHERS: &str = "(others)";

/// Counts until `shutdown`. A failure is said and tried again.
pub(crate) async fn run(parts: Arc<Parts>, shutdown: CancellationToken) {
    loop {
        let begun = Instant::now();
        if let Err(error) = once(&parts).await {
            tracing::warn!(error = format!("{error:#}"), "what is stored could not be counted");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY.max(begun.elapsed() * REST)) => {}
        }
    }
}

/// Counts once.
pub(crate) async fn once(parts: &Parts) -> anyhow::Result<()> {
    let metrics = &parts.metrics;
    let tiers = tiers(&parts.catalogue.stream_tiers(GROUP).await?, STREAMS);
    metrics.stored_shards.clear();
    metrics.stored_bytes.clear();
    for (label, (shards, bytes)) in tiers {
        metrics.stored_shards.get_or_create(&label).set(shards as i64);
        metrics.stored_bytes.get_or_create(&label).set(bytes as i64);
    }
    let (mut sources, mut holes, mut missing, mut lost) = (0, 0, 0, 0);
    let mut last = None;
    loop {
        let some = parts.catalogue.sources_after(GROUP, last, SOME).await?;
        let Some(one) = some.last() else { break };
        last = Some(one.id);
        for source in &some {
            let account = audit(&source.state);
            sources += i64::from(!account.is_complete());
            holes += account.holes.len() as i64;
            missing += account.holes.iter().map(|hole| hole.length()).sum::<u64>();
            lost += account.lost;
        }
    }
    metrics.incomplete_sources.set(sources);
    metrics.missing_ranges.set(holes);
    metrics.missing_positions.set(missing as i64);
    metrics.lost_positions.set(lost as i64);
    Ok(())
}

/// Shards and bytes by label: the `most` largest streams by name, the others together.
fn tiers(stored: &[StreamTier], most: usize) -> BTreeMap<Stored, (u64, u64)> {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for tier in stored {
        *sizes.entry(tier.stream.as_str()).or_default() += tier.bytes;
    }
    let mut named: Vec<_> = sizes.into_iter().collect();
    named.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    named.truncate(most);
    let mut by_label: BTreeMap<Stored, (u64, u64)> = BTreeMap::new();
    for tier in stored {
        let stream = tier.stream.as_str();
        let stream = if named.iter().any(|(name, _)| *name == stream) { stream } else { OTHERS };
        let label = Stored { stream: stream.to_owned(), tier: if tier.merged { "merged" } else { "sealed" } };
        let (shards, bytes) = by_label.entry(label).or_default();
        *shards += tier.shards;
        *bytes += tier.bytes;
    }
    by_label
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_largest_streams_are_named_and_the_rest_adds_up() {
        let tier = |stream: &str, merged, shards, bytes| StreamTier {
            stream: stream.parse().unwrap(),
            merged,
            shards,
            bytes,
        };
        let stored = [
            tier("small", false, 1, 10),
            tier("large", false, 2, 100),
            tier("large", true, 3, 1000),
            tier("tiny", false, 4, 1),
            tier("tiny", true, 1, 2),
        ];
        let told: Vec<_> = tiers(&stored, 1)
            .into_iter()
            .map(|(label, (shards, bytes))| (label.stream, label.tier, shards, bytes))
            .collect();
        let others = OTHERS.to_owned();
        assert_eq!(
            told,
            [
                (others.clone(), "merged", 1, 2),
                (others, "sealed", 5, 11),
                ("large".to_owned(), "merged", 3, 1000),
                ("large".to_owned(), "sealed", 2, 100),
            ]
        );
        assert!(OTHERS.parse::<millrace_model::StreamName>().is_err());
    }
}
