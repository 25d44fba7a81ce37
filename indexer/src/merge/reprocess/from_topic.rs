//! A shard, made again: the messages of its offsets are read from the topic, put through a ledger of their own and the steps of
//! the pipeline, and sealed as they come, so that memory is bounded by what is sealed at once and by the ids of the old shard.
//!
//! The stored ledger is only asked, never changed: for what waits as a dead letter, and for what makes ids doubtful.

use super::{super::Stored, proof::Proof};
use crate::{GROUP, Parts, Settings, route, settings::Streams};
use anyhow::Context;
use millrace_ledger::{Aside, Content, Ledger, Outcome, Place, Reading, SourceState, Span, accounts, read};
use millrace_model::{OffsetRange, RecordId, ShardId, ShardMeta, SourceId, TimeRange, Timestamp, wire};
use millrace_storage::Reach;
use millrace_store::{
    Error, HotRow, HotShard, MergeInput, SealInput, SealedBundle, SealedShard, Shaper, merge, seal,
};
use millrace_transport::Message;
use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
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

/// The ids of the records of a shard, if its bundle is there and is it. What is damaged of it may be what ids are not read from.
async fn ids(parts: &Parts, shard: &ShardMeta) -> anyhow::Result<Option<Vec<RecordId>>> {
    let read = |bundle: Stored, shard: ShardMeta| {
        let sealed = SealedShard::open_from(Path::new(&shard.key), Arc::new(bundle))?;
        let found = sealed.meta();
        if found.id != shard.id || found.sha256 != shard.sha256 || found.records != shard.records {
            return Ok(None);
        }
        let mut ids = Vec::with_capacity(shard.records as usize);
        sealed.each_id(|id| ids.push(id))?;
        Ok::<_, Error>(Some(ids))
    };
    loop {
        let reader = match parts.bundles.reader(&shard.key, Some(shard.bytes), Reach::Whole).await {
            Err(millrace_storage::Error::Missing { .. } | millrace_storage::Error::Size { .. }) => {
                return Ok(None);
            }
            other => other?,
        };
        let (bundle, shard_read) = (Stored { key: shard.key.clone(), reader }, shard.clone());
        let ids = tokio::task::spawn_blocking(move || read(bundle, shard_read));
        match ids.await.context("reading ids panicked")? {
            Ok(ids) => return Ok(ids),
            Err(error) => {
                tracing::warn!(%error, shard.id = %shard.id, "a bundle does not tell the ids of its records");
                // Of a copy: what it is a copy of is fetched anew.
                if !parts.bundles.distrust(&shard.key).await? {
                    return Ok(None);
                }
            }
        }
    }
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

/// What the stored ledger says of a source.
struct Known {
    aside: Aside,
    has_strays: bool,
    has_reframed: bool,
}

impl Known {
    fn of(state: SourceState) -> Self {
        Self {
            has_strays: !state.strays.is_empty() || state.stray_of.is_some(),
            has_reframed: state.reframed > 0,
            aside: state.aside,
        }
    }
}

/// A message of the shard's stream, read.
struct Given {
    offset: i64,
    timestamp: Timestamp,
    reading: Reading,
    /// Where it would be accounted for if it were a dead letter.
    spans: Vec<(SourceId, Span)>,
}

/// A shard that is being made.
struct Making {
    shard: ShardMeta,
    streams: Streams,
    proof: Proof,
    ledger: Ledger,
    /// What the stored ledger says, `None`: nothing.
    sources: HashMap<SourceId, Option<Known>>,
    shaper: Shaper,
    rows: HotShard,
    pieces: Pieces,
    directory: PathBuf,
    /// Rows that weigh this much are sealed as a piece, in bytes.
    piece_bytes: u64,
    created: Timestamp,
}

/// Bundles in the folder for work, which go with this.
#[derive(Default)]
struct Pieces(Vec<SealedBundle>);

impl Drop for Pieces {
    fn drop(&mut self) {
        for piece in &self.0 {
            if let Err(error) = std::fs::remove_file(&piece.path) {
                tracing::warn!(path = %piece.path.display(), %error, "a sealed bundle's work file stays behind");
            }
        }
    }
}

impl Making {
    fn new(parts: &Parts, settings: &Settings, shard: &ShardMeta, proof: Proof) -> Self {
        let shaper = Shaper::default();
        Self {
            shard: shard.clone(),
            streams: settings.streams.clone(),
            proof,
            ledger: Ledger::new(),
            sources: HashMap::new(),
            rows: HotShard::new(&shaper),
            shaper,
            pieces: Pieces::default(),
            directory: parts.work_directory.clone(),
            piece_bytes: settings.seal_bytes,
            created: parts.clock.now(),
        }
    }

    /// Decodes messages; those of other streams are passed over.
    fn read(&self, range: &OffsetRange, messages: Vec<Message>) -> Vec<Given> {
        let mut given = Vec::with_capacity(messages.len());
        for message in messages {
            let envelope = wire::envelope(&message.headers);
            if envelope.is_some_and(|envelope| envelope.stream != self.shard.stream) {
                continue;
            }
            let reading = read(&message.headers, &message.value);
            match &reading.content {
                Content::Marker(_) => continue,
                Content::Foreign(stream, _) if *stream != self.shard.stream => continue,
                _ => {}
            }
            let Message { offset, timestamp, .. } = message;
            let letter = place(range, offset, timestamp).letter(&reading);
            let spans = accounts(&letter, &message.headers);
            given.push(Given { offset, timestamp, reading, spans });
        }
        given
    }

    /// Takes in what was read, and seals a piece where that is enough.
    fn take(&mut self, range: &OffsetRange, given: Vec<Given>) -> Result<(), Error> {
        for one in given {
            let rows = self.take_one(range, one);
            self.rows.append(rows);
            if self.rows.weight() as u64 >= self.piece_bytes {
                self.seal_piece()?;
            }
        }
        Ok(())
    }

    /// The rows of a message that belong to the shard.
    fn take_one(&mut self, range: &OffsetRange, given: Given) -> Vec<HotRow> {
        let Given { offset, timestamp, reading, spans } = given;
        self.ask_the_ledger(&reading);
        let waits = |(source, span): &(SourceId, Span)| {
            let known = self.sources.get(source).and_then(Option::as_ref);
            known.is_some_and(|known| known.aside.overlap(*span) > 0)
        };
        if spans.iter().any(waits) {
            // A dead letter to this day: nothing of it was ever taken in.
            return Vec::new();
        }
        let was_letter = reading.letter.is_some();
        self.look_at_letters(range, offset, &reading);
        let accounted = self.ledger.account(place(range, offset, timestamp), reading);
        if was_letter && accounted.outcome.is_some_and(|outcome| outcome != Outcome::New) {
            self.proof.contradict(|| {
                format!(
                    "offset {offset} of partition {} stands for an earlier message, mended or not",
                    range.partition
                )
            });
        }
        if accounted.stray {
            self.proof.doubt(|| format!("two senders claim one source, at offset {offset}"));
        }
        // Nothing expires here: what had when it came, nobody has the ids of.
        let routed = route::rows(&self.streams, (range.partition, offset), accounted, Timestamp::MIN);
        let mut rows = Vec::with_capacity(routed.rows.len());
        for (_, _, row) in routed.rows {
            if row.row.stream != self.shard.stream || !self.proof.claims(&row.row) {
                continue;
            }
            let source = row.row.id.source;
            if self.sources.get(&source).and_then(Option::as_ref).is_some_and(|known| known.has_reframed) {
                self.proof.contradict(|| {
                    format!(
                        "records of source {source} were flagged as reframed, and which of them is not known"
                    )
                });
            }
            rows.push(row);
        }
        rows
    }

    /// What could have been taken in otherwise, or not at all, when the message came.
    fn look_at_letters(&mut self, range: &OffsetRange, offset: i64, reading: &Reading) {
        let at = || format!("the message at offset {offset} of partition {}", range.partition);
        if let Some(problem) = reading.dead() {
            self.proof.doubt(|| format!("{} cannot be read: {problem}", at()));
        }
        if reading.letter.is_some() {
            self.proof.doubt(|| format!("{} was a dead letter once", at()));
        }
    }

    /// Could the records of a batch have had other ids when it came?
    fn ask_the_ledger(&mut self, reading: &Reading) {
        let Self { proof, sources, .. } = self;
        let Content::Batch(envelope, _) = &reading.content else { return };
        match sources.get(&envelope.source).and_then(Option::as_ref) {
            None => proof.doubt(|| format!("the ledger knows nothing of source {}", envelope.source)),
            Some(known) if known.has_strays => {
                proof.doubt(|| format!("two senders have claimed source {}", envelope.source));
            }
            Some(_) => {}
        }
    }

    fn seal_piece(&mut self) -> Result<(), Error> {
        let rows = std::mem::replace(&mut self.rows, HotShard::new(&self.shaper));
        let input = SealInput {
            id: ShardId::random(),
            stream: self.shard.stream.clone(),
            rows: vec![rows.snapshot()],
            offsets: self.shard.offsets.clone(),
            created: self.created,
            rewrites: self.shard.rewrites + 1,
            bucket: self.shard.bucket,
        };
        self.pieces.0.push(seal(&input, &self.directory)?);
        Ok(())
    }

    /// The shard, if it is proved.
    fn finish(&mut self) -> Result<Result<SealedBundle, String>, Error> {
        if let Err(problem) = self.proof.verdict() {
            return Ok(Err(problem));
        }
        if !self.rows.is_empty() {
            self.seal_piece()?;
        }
        if self.pieces.0.len() > 1 {
            let merged = self.merge_pieces()?;
            self.pieces = Pieces(vec![merged]);
        }
        let Some(made) = self.pieces.0.first() else {
            return Ok(Err("the topic gives no records".to_owned()));
        };
        let (old, new) = (&self.shard, &made.meta);
        if (new.records, new.first, new.last) != (old.records, old.first, old.last) {
            return Ok(Err(format!(
                "{} records from {} to {} would take the place of {} from {} to {}",
                new.records, new.first, new.last, old.records, old.first, old.last
            )));
        }
        let mut made = self.pieces.0.remove(0);
        made.meta.deletions = self.shard.deletions;
        Ok(Ok(made))
    }

    fn merge_pieces(&self) -> Result<SealedBundle, Error> {
        let shards: Vec<SealedShard> =
            self.pieces.0.iter().map(|piece| SealedShard::open(&piece.path)).collect::<Result<_, _>>()?;
        let (id, passed, created) = (ShardId::random(), self.shard.deletions, self.created);
        merge(&MergeInput { id, shards: &shards, deletions: &[], passed, created }, &self.directory)
    }
}

fn place(range: &OffsetRange, offset: i64, timestamp: Timestamp) -> Place<'_> {
    let OffsetRange { topic, topic_id, partition, .. } = range;
    Place { topic, topic_id: *topic_id, partition: *partition, offset, timestamp }
}
