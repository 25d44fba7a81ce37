//! A shard, made of messages: decoded, put through a ledger of their own and the pipeline's own steps, and sealed as they come, so
//! that memory is bounded by what is sealed at once. Takes a core and writes into the folder for work; where messages come from is
//! not known here.

use super::proof::Proof;
use crate::{Parts, Settings, route, settings::Streams};
use millrace_ledger::{Aside, Content, Ledger, Outcome, Place, Reading, SourceState, Span, accounts, read};
use millrace_model::{OffsetRange, ShardId, ShardMeta, SourceId, Timestamp, wire};
use millrace_store::{
    Error, FieldRules, HotRow, HotShard, MergeInput, SealInput, SealedBundle, SealedShard, Shaper, merge,
    seal,
};
use millrace_transport::Message;
use std::{collections::HashMap, path::PathBuf};

/// What the stored ledger says of a source.
pub(super) struct Known {
    aside: Aside,
    has_strays: bool,
    has_reframed: bool,
}

impl Known {
    pub(super) fn of(state: SourceState) -> Self {
        Self {
            has_strays: !state.strays.is_empty() || state.stray_of.is_some(),
            has_reframed: state.reframed > 0,
            aside: state.aside,
        }
    }
}

/// A message of the shard's stream, read.
pub(super) struct Given {
    offset: i64,
    timestamp: Timestamp,
    reading: Reading,
    /// Where it would be accounted for if it were a dead letter.
    pub(super) spans: Vec<(SourceId, Span)>,
}

/// A shard that is being made.
pub(super) struct Making {
    pub(super) shard: ShardMeta,
    streams: Streams,
    pub(super) proof: Proof,
    ledger: Ledger,
    /// What the stored ledger says, `None`: nothing.
    pub(super) sources: HashMap<SourceId, Option<Known>>,
    shaper: Shaper,
    /// As they are today.
    rules: FieldRules,
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
    pub(super) fn new(parts: &Parts, settings: &Settings, shard: &ShardMeta, proof: Proof) -> Self {
        let shaper = Shaper::default();
        let fields = settings.streams.fields.of(&shard.stream);
        let rules = FieldRules::new(fields.declared, fields.most);
        Self {
            shard: shard.clone(),
            streams: settings.streams.clone(),
            proof,
            ledger: Ledger::new(),
            sources: HashMap::new(),
            rows: HotShard::new(&shaper, &rules),
            shaper,
            rules,
            pieces: Pieces::default(),
            directory: parts.work_directory.clone(),
            piece_bytes: settings.seal_bytes,
            created: parts.clock.now(),
        }
    }

    /// Decodes messages; those of other streams are passed over.
    pub(super) fn read(&mut self, range: &OffsetRange, messages: Vec<Message>) -> Vec<Given> {
        let mut given = Vec::with_capacity(messages.len());
        for message in messages {
            let envelope = wire::envelope(&message.headers);
            if envelope.is_some_and(|envelope| envelope.stream != self.shard.stream) {
                continue;
            }
            let reading = read(&message.headers, &message.value);
            match &reading.content {
                Content::Marker(id) => {
                    if range.topic_id.is_some_and(|then| then != *id) {
                        self.proof.contradict(|| format!("topic {} is another one by now", range.topic));
                    }
                    continue;
                }
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
    pub(super) fn take(&mut self, range: &OffsetRange, given: Vec<Given>) -> Result<(), Error> {
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
        let rows = std::mem::replace(&mut self.rows, HotShard::new(&self.shaper, &self.rules));
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
    pub(super) fn finish(&mut self) -> Result<Result<SealedBundle, String>, Error> {
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
