//! A shard, made again of the topic: what is needed for that is read, the ids of its records in the old bundle, the messages of its
//! offsets, and what the stored ledger says of their sources, which is only asked and never changed.

use super::{
    super::Stored,
    making::{Known, Making},
    proof::Proof,
};
use crate::{GROUP, Parts, Settings};
use anyhow::Context;
use millrace_model::{OffsetRange, RecordId, ShardMeta, SourceId, TimeRange};
use millrace_storage::Reach;
use millrace_store::{Error, SealedBundle, SealedShard};
use millrace_transport::Message;
use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// What came of making a shard again.
#[derive(Debug)]
pub(super) enum Made {
    /// It is proved to hold what the old one held, and lies in the folder for work.
    Bundle(Box<SealedBundle>),
    /// There is no proof, and why not.
    Refused(String),
    /// The program ends.
    Stopped,
}

/// Makes a shard of at most `most` records again. An error is one of the surroundings: the topic, storage or catalogue cannot be
/// reached.
pub(super) async fn make(
    parts: &Parts,
    settings: &Settings,
    shard: &ShardMeta,
    most: u64,
    shutdown: &CancellationToken,
) -> anyhow::Result<Made> {
    if shard.records > most {
        let problem = format!("it holds {} records; up to {most} are made again at once", shard.records);
        return Ok(Made::Refused(problem));
    }
    let proof = Proof::new(shard, ids(parts, shard).await?);
    let mut making = Making::new(parts, settings, shard, proof);
    if let Err(problem) = compare_topic(parts, &mut making).await? {
        return Ok(Made::Refused(problem));
    }
    for range in &shard.offsets {
        let mut next = range.from;
        while next < range.to {
            if shutdown.is_cancelled() {
                return Ok(Made::Stopped);
            }
            let messages = match page(parts, range, &mut next, &mut making.proof).await? {
                Ok(messages) => messages,
                Err(problem) => return Ok(Made::Refused(problem)),
            };
            making = take(parts, making, range, messages).await?;
            if let Some(problem) = making.proof.problem() {
                return Ok(Made::Refused(problem.to_owned()));
            }
        }
    }
    let (_, made) = on_a_thread(making, Making::finish).await?;
    Ok(match made? {
        Ok(bundle) => Made::Bundle(Box::new(bundle)),
        Err(problem) => Made::Refused(problem),
    })
}

/// The ids of the records of a shard, if its bundle is there and is it.
async fn ids(parts: &Parts, shard: &ShardMeta) -> anyhow::Result<Option<Vec<RecordId>>> {
    // A copy that does not tell them may be damaged: then the bundle itself is asked.
    for _ in 0..2 {
        let reader = match parts.bundles.reader(&shard.key, Some(shard.bytes), Reach::Whole).await {
            Err(millrace_storage::Error::Missing { .. } | millrace_storage::Error::Size { .. }) => {
                return Ok(None);
            }
            other => other?,
        };
        let (bundle, of) = (Stored { key: shard.key.clone(), reader }, shard.clone());
        let ids = tokio::task::spawn_blocking(move || read_ids(bundle, &of));
        match ids.await.context("reading ids panicked")? {
            Ok(ids) => return Ok(Some(ids)),
            Err(error) => {
                tracing::warn!(%error, shard.id = %shard.id, "a bundle does not tell the ids of its records");
                if !parts.bundles.distrust(&shard.key).await? {
                    break;
                }
            }
        }
    }
    Ok(None)
}

/// What is damaged of a bundle may be what ids are not read from. Blocks.
fn read_ids(bundle: Stored, shard: &ShardMeta) -> Result<Vec<RecordId>, Error> {
    let path = Path::new(&shard.key);
    let sealed = SealedShard::open_from(path, Arc::new(bundle))?;
    let found = sealed.meta();
    if (found.id, &found.sha256, found.records) != (shard.id, &shard.sha256, shard.records) {
        return Err(Error::Corrupt { path: path.to_owned(), problem: "it is another one".to_owned() });
    }
    let mut ids = Vec::with_capacity(shard.records as usize);
    sealed.each_id(|id| ids.push(id))?;
    Ok(ids)
}

/// Are the shard's offsets those of the topic that is there?
async fn compare_topic(parts: &Parts, making: &mut Making) -> anyhow::Result<Result<(), String>> {
    let rows = parts.catalogue.snapshot(GROUP, TimeRange::NONE, Some(&[])).await?.partitions;
    for range in &making.shard.offsets {
        let name = parts.topic.name();
        if range.topic != name {
            return Ok(Err(format!("it was made of topic {}, and this indexer reads {name}", range.topic)));
        }
        let row = rows.iter().find(|row| row.topic == name && row.partition == range.partition);
        match (range.topic_id, row.and_then(|row| row.topic_id)) {
            (Some(then), Some(now)) if then == now => {}
            (Some(_), Some(_)) => {
                return Ok(Err(format!("topic {name} has been deleted and created again since")));
            }
            _ => making.proof.doubt(|| format!("whether topic {name} is still the same is not known")),
        }
    }
    Ok(Ok(()))
}

/// The next messages of a range, from `next` on, which is moved behind them; or why they cannot be had any more.
async fn page(
    parts: &Parts,
    range: &OffsetRange,
    next: &mut i64,
    proof: &mut Proof,
) -> anyhow::Result<Result<Vec<Message>, String>> {
    let OffsetRange { partition, to, .. } = *range;
    let page = match parts.topic.page(partition, *next, usize::MAX).await {
        Err(error @ millrace_transport::Error::NoSuchPartition { .. }) => return Ok(Err(error.to_string())),
        other => other?,
    };
    if page.low > *next {
        let forgotten = page.low.min(to);
        return Ok(Err(format!(
            "the topic does not have offsets {next} to {forgotten} of partition {partition} any more"
        )));
    }
    if page.end < to || page.next <= *next {
        let absent = if page.end < to { page.end } else { *next };
        return Ok(Err(format!("the topic has nothing at offset {absent} of partition {partition}")));
    }
    let mut messages = page.messages;
    messages.retain(|message| message.offset < to);
    let mut expected = *next;
    let ends = messages.iter().map(|message| message.offset).chain((page.next >= to).then_some(to));
    for offset in ends {
        if offset > expected {
            proof.doubt(|| {
                format!("offsets {expected} to {offset} of partition {partition} are not in the topic")
            });
        }
        expected = offset + 1;
    }
    *next = page.next;
    Ok(Ok(messages))
}

/// Takes in messages, after what the ledger says of their sources has been read.
async fn take(
    parts: &Parts,
    making: Making,
    range: &OffsetRange,
    messages: Vec<Message>,
) -> anyhow::Result<Making> {
    let place = range.clone();
    let read = move |making: &mut Making| making.read(&place, messages);
    let (mut making, given) = on_a_thread(making, read).await?;
    let sources: BTreeSet<SourceId> =
        given.iter().flat_map(|one| &one.spans).map(|(source, _)| *source).collect();
    let sources: Vec<SourceId> =
        sources.into_iter().filter(|source| !making.sources.contains_key(source)).collect();
    let mut stored: HashMap<SourceId, Known> = HashMap::new();
    for source in parts.catalogue.sources(GROUP, &sources).await? {
        stored.insert(source.id, Known::of(source.state));
    }
    making.sources.extend(sources.into_iter().map(|source| (source, stored.remove(&source))));
    let place = range.clone();
    let (making, taken) = on_a_thread(making, move |making| making.take(&place, given)).await?;
    taken.map(|()| making).map_err(Into::into)
}

/// Does work that takes a core.
async fn on_a_thread<T: Send + 'static>(
    mut making: Making,
    work: impl FnOnce(&mut Making) -> T + Send + 'static,
) -> anyhow::Result<(Making, T)> {
    let work = tokio::task::spawn_blocking(move || {
        let done = work(&mut making);
        (making, done)
    });
    work.await.context("making a shard again panicked")
}
