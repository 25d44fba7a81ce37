//! Rows against storage: every live shard's bundle is there, says of itself what its row says, and is whole. What nobody
//! knows is told, but is no finding.

use super::{Finding, TOLD, Verification};
use crate::shards::Bundle;
use millrace_catalogue::Catalogue;
use millrace_model::ShardMeta;
use millrace_storage::{Bundles, Reach};
use std::{
    num::NonZero,
    path::PathBuf,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// How many bundles are read at once, at most: searches go on meanwhile.
const AT_ONCE: usize = 4;
/// How the keys of bundles end.
const BUNDLE: &str = ".shard";
/// How often the log is told how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Checks the bundles of all `shards`.
pub(super) async fn check(
    catalogue: &Catalogue,
    bundles: &Bundles,
    shards: Vec<ShardMeta>,
    into: &mut Verification,
) -> anyhow::Result<()> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let (free, all) = (Arc::new(Semaphore::new(cores.div_ceil(2).min(AT_ONCE))), shards.len());
    let mut tasks = JoinSet::new();
    for shard in shards {
        let (bundles, catalogue, free) = (bundles.clone(), catalogue.clone(), Arc::clone(&free));
        tasks.spawn(async move {
            let _permit = free.acquire_owned().await;
            let problems = problems_while_live(&catalogue, &bundles, &shard).await;
            (shard, problems)
        });
    }
    let mut told = Instant::now();
    while let Some(ended) = tasks.join_next().await {
        let (shard, problems) = ended?;
        let Some(problems) = problems? else {
            into.ended_meanwhile += 1;
            continue;
        };
        into.shards += 1;
        into.bytes += shard.bytes;
        for problem in problems {
            into.find(Finding::of_bundle(&shard, problem));
        }
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            tracing::info!(shards = into.shards, of = all, bytes = into.bytes, "verification goes on");
        }
    }
    Ok(())
}

/// What is wrong with a shard's bundle. `None`: the shard has ended meanwhile, and its bundle may be gone rightly.
async fn problems_while_live(
    catalogue: &Catalogue,
    bundles: &Bundles,
    shard: &ShardMeta,
) -> anyhow::Result<Option<Vec<String>>> {
    let problems = problems(bundles, shard).await?;
    if !problems.is_empty() && catalogue.live_shards(&[shard.id]).await?.is_empty() {
        return Ok(None);
    }
    Ok(Some(problems))
}

async fn problems(bundles: &Bundles, shard: &ShardMeta) -> anyhow::Result<Vec<String>> {
    // What is stored counts, not a copy of it.
    if let Err(error) = bundles.distrust(&shard.key).await {
        return Ok(vec![format!("its copy cannot be put away: {:#}", anyhow::Error::from(error))]);
    }
    let bundle = match bundles.reader(&shard.key, None, Reach::Whole).await {
        Ok(reader) => Arc::new(Bundle::of(reader)),
        Err(millrace_storage::Error::Missing { .. }) => return Ok(vec!["it is not in storage".to_owned()]),
        Err(error) => return Ok(vec![format!("it cannot be reached: {:#}", anyhow::Error::from(error))]),
    };
    let name = PathBuf::from(&shard.key);
    let verifying = tokio::task::spawn_blocking(move || millrace_store::verify_from(&name, bundle));
    let verified = match verifying.await? {
        Ok(verified) => verified,
        Err(error) => return Ok(vec![format!("{:#}", anyhow::Error::from(error))]),
    };
    let mut problems = differences(shard, &verified.meta);
    problems.extend(verified.faults.iter().map(ToString::to_string));
    if verified.more > 0 {
        problems.push(format!("and {} faults more", verified.more));
    }
    Ok(problems)
}

/// In what a footer differs from the row.
fn differences(row: &ShardMeta, footer: &ShardMeta) -> Vec<String> {
    if footer.id != row.id {
        return vec![format!("what lies there is the bundle of shard {}, of key {}", footer.id, footer.key)];
    }
    let offsets = |shard: &ShardMeta| {
        let ranges: Vec<String> = shard
            .offsets
            .iter()
            .map(|range| format!("{}/{} {}-{}", range.topic, range.partition, range.from, range.to))
            .collect();
        ranges.join(", ")
    };
    let time = |time: millrace_model::Timestamp| time.to_string();
    let said = |shard: &ShardMeta| {
        [
            ("key", shard.key.clone()),
            ("SHA-256", shard.sha256.clone()),
            ("stream", shard.stream.to_string()),
            ("records", shard.records.to_string()),
            ("bytes", shard.bytes.to_string()),
            ("offsets", offsets(shard)),
            ("earliest time", time(shard.first)),
            ("latest time", time(shard.last)),
            ("time of sealing", time(shard.created)),
            ("bucket", shard.bucket.map(time).unwrap_or_default()),
            ("rewrites", shard.rewrites.to_string()),
            ("layout", shard.schema_version.to_string()),
            ("fields", serde_json::to_string(&shard.fields).unwrap_or_default()),
        ]
    };
    let pairs = said(row).into_iter().zip(said(footer));
    let mut differences: Vec<String> = pairs
        .filter(|((_, row), (_, footer))| row != footer)
        .map(|((name, row), (_, footer))| format!("its {name}: the row says {row}, its footer {footer}"))
        .collect();
    // A shard that a deletion found nothing in stays as it is: only its row knows.
    if footer.deletions > row.deletions {
        differences
            .push(format!("its deletions: the row says {}, its footer {}", row.deletions, footer.deletions));
    }
    // What is not told apart above, such as the incarnation of a topic.
    if differences.is_empty() && *row != (ShardMeta { deletions: row.deletions, ..footer.clone() }) {
        differences.push("its row and its footer differ in the topic's incarnation".to_owned());
    }
    differences
}

/// Bundles that no row knows. Work files, whose names begin with a dot, are not among them.
pub(super) async fn look_for_unknown(
    catalogue: &Catalogue,
    bundles: &Bundles,
    into: &mut Verification,
) -> anyhow::Result<()> {
    // Listed first: what is published in between is known by then.
    let listed = bundles.list("").await?;
    let known = catalogue.bundle_keys().await?;
    for (key, _) in listed {
        if key.starts_with('.') || !key.ends_with(BUNDLE) || known.contains(&key) {
            continue;
        }
        // Forgotten and deleted in between?
        if matches!(
            bundles.reader(&key, None, Reach::Parts).await,
            Err(millrace_storage::Error::Missing { .. })
        ) {
            continue;
        }
        into.unknown_bundles_total += 1;
        if into.unknown_bundles.len() < TOLD {
            into.unknown_bundles.push(key);
        }
    }
    Ok(())
}
