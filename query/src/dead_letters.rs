//! What lies in the dead-letter topic, and sending it again.
//!
//! Whether a letter still waits is not written down anywhere: the ledger knows, which keeps aside what letters stand for
//! until it comes. So a letter that is sent twice becomes searchable once.

use crate::INDEXER_GROUP;
use bytes::Bytes;
use millrace_catalogue::Catalogue;
use millrace_intake::Parsers;
use millrace_ledger::{SourceState, Span, accounts};
use millrace_model::{
    Attributes, LogRecord, Partition, SourceId, StreamName, Timestamp,
    wire::{self, Envelope, Letter, Payload},
};
use millrace_transport::{AnyProducer, DeliveryReport, Message, Producer, Topic};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::mpsc;

/// The dead-letter topic has one partition.
const AT: Partition = Partition(0);

/// A letter.
#[derive(Debug)]
pub struct DeadLetter {
    /// Its number: its offset in the dead-letter topic.
    pub number: i64,
    /// When it was put there.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// Where it lay first; `None`: somebody else wrote it.
    pub letter: Option<Letter>,
    /// What its agent said of it, where that can be read.
    pub envelope: Option<Box<Envelope>>,
    /// Is it not searchable yet?
    pub waits: bool,
    /// It, whole.
    pub message: Message,
}

/// Some letters.
#[derive(Debug)]
pub struct Letters {
    /// By number.
    pub letters: Vec<DeadLetter>,
    /// Where the next ones begin; `None`: these were the last.
    pub next: Option<i64>,
}

/// How letters are mended before they are sent again. The default sends them as they are.
#[derive(Debug, Clone, Default)]
pub struct Mend {
    /// This is what they should have said, a record a line.
    pub text: Option<String>,
    /// What they say (or `text`) is lines, to be read so.
    pub parsers: Option<Parsers>,
    /// Where the records belong, for messages that are not of an agent.
    pub stream: Option<StreamName>,
}

/// Reads and sends again.
pub struct DeadLetters {
    topic: Topic,
    catalogue: Catalogue,
}

impl DeadLetters {
    /// Of `topic`.
    pub fn new(topic: Topic, catalogue: Catalogue) -> Self {
        Self { topic, catalogue }
    }

    /// Up to `limit` letters from number `from` on.
    ///
    /// # Errors
    /// The topic or the catalogue cannot be read.
    pub async fn list(&self, from: i64, limit: usize) -> anyhow::Result<Letters> {
        let dead = self.topic.dead().await?;
        let page = dead.page(AT, from, limit).await?;
        let next = (page.next < page.end && !page.messages.is_empty()).then_some(page.next);
        let of_letters = page.messages.into_iter().filter(|message| wire::reason(&message.headers).is_some());
        let mut letters: Vec<DeadLetter> = of_letters.map(read).collect();
        self.look_up(&mut letters).await?;
        Ok(Letters { letters, next })
    }

    /// The latest letters, so many at most.
    ///
    /// # Errors
    /// The topic or the catalogue cannot be read.
    pub async fn latest(&self, limit: usize) -> anyhow::Result<Letters> {
        let first = self.topic.dead().await?.page(AT, 0, 1).await?;
        self.list(first.low.max(first.end - limit as i64), limit).await
    }

    /// The letter with this number, if there is one.
    ///
    /// # Errors
    /// The topic or the catalogue cannot be read.
    pub async fn one(&self, number: i64) -> anyhow::Result<Option<DeadLetter>> {
        let found = self.list(number, 1).await?.letters;
        Ok(found.into_iter().find(|letter| letter.number == number))
    }

    /// Sends letters again, each to the partition that it came from, and returns what was wrong with those that were not
    /// sent. Those that do not wait any more are passed over.
    ///
    /// # Errors
    /// The topic cannot be written to.
    pub async fn replay(
        &self,
        letters: Vec<DeadLetter>,
        mend: &Mend,
    ) -> anyhow::Result<BTreeMap<i64, Result<(), String>>> {
        let (reports, mut delivered) = mpsc::channel(1);
        let producer = self.topic.producer(reports)?;
        let mut outcomes = BTreeMap::new();
        for letter in letters.into_iter().filter(|letter| letter.waits) {
            let number = letter.number;
            let outcome = match self.mended(letter, mend) {
                Ok((partition, payload)) => send(&producer, &mut delivered, partition, payload).await?,
                Err(problem) => Err(problem),
            };
            outcomes.insert(number, outcome);
        }
        Ok(outcomes)
    }

    /// The message that a letter should have been, and where it goes.
    fn mended(&self, dead: DeadLetter, mend: &Mend) -> Result<(Partition, Payload), String> {
        let Some(letter) = dead.letter.filter(|letter| letter.topic == self.topic.name()) else {
            return Err(format!("it does not say where in {} it lay", self.topic.name()));
        };
        let Message { key, headers, value, timestamp, .. } = dead.message;
        let mut payload = Payload { key, headers, value };
        if mend.stream.is_some() && dead.envelope.is_some() {
            return Err("an agent sent it, and said which stream it belongs to".to_owned());
        }
        if mend.text.is_some() || mend.parsers.is_some() {
            let text = mend.text.as_ref().map_or(&payload.value[..], |text| text.as_bytes());
            let records = lines(text, mend.parsers.as_ref(), timestamp);
            let plain = wire::plain(mend.stream.as_ref(), &records);
            payload.value = plain.value;
            if dead.envelope.is_none() {
                payload.headers = plain.headers;
            }
        } else if let Some(stream) = &mend.stream {
            let named = wire::plain(Some(stream), []).headers;
            payload.headers.retain(|(name, _)| named.iter().all(|(other, _)| name != other));
            payload.headers.extend(named);
        }
        wire::decode(&payload.headers, &payload.value)
            .map_err(|error| format!("it cannot be read as it is: {error}"))?;
        Ok((letter.partition, wire::revived(payload, &letter)))
    }

    /// Asks the ledger which letters still wait.
    async fn look_up(&self, letters: &mut [DeadLetter]) -> anyhow::Result<()> {
        let accounts = |dead: &DeadLetter| -> Vec<(SourceId, Span)> {
            dead.letter.as_ref().map(|at| accounts(at, &dead.message.headers)).unwrap_or_default()
        };
        let ids: BTreeSet<SourceId> = letters.iter().flat_map(accounts).map(|(id, _)| id).collect();
        let ids: Vec<SourceId> = ids.into_iter().collect();
        let stored = self.catalogue.sources(INDEXER_GROUP, &ids).await?;
        let states: BTreeMap<SourceId, SourceState> = stored.into_iter().map(|s| (s.id, s.state)).collect();
        for letter in letters {
            letter.waits = accounts(letter)
                .iter()
                .any(|(id, span)| states.get(id).is_some_and(|state| state.aside.overlap(*span) > 0));
        }
        Ok(())
    }
}

fn read(message: Message) -> DeadLetter {
    DeadLetter {
        number: message.offset,
        at: message.timestamp,
        reason: wire::reason(&message.headers).unwrap_or_default().to_owned(),
        letter: wire::letter(&message.headers),
        envelope: wire::envelope(&message.headers),
        waits: false,
        message,
    }
}

/// A record for each line that is not blank.
fn lines(text: &[u8], parsers: Option<&Parsers>, observed: Timestamp) -> Vec<LogRecord> {
    let auto = Parsers::default();
    let parsers = parsers.unwrap_or(&auto);
    let resource = Arc::new(Attributes::new());
    text.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
        .filter(|line| !line.is_empty())
        .map(|line| parsers.parse(line, observed, &resource))
        .collect()
}

/// Sends one message and waits until it is durable.
async fn send(
    producer: &AnyProducer,
    delivered: &mut mpsc::Receiver<DeliveryReport>,
    partition: Partition,
    payload: Payload,
) -> anyhow::Result<Result<(), String>> {
    producer.send(partition, payload, 0).await?;
    match delivered.recv().await {
        Some(report) => Ok(report.outcome.map(drop).map_err(|rejected| rejected.to_string())),
        None => anyhow::bail!("the producer ended"),
    }
}

/// The value as text, where it is text.
pub fn text(value: &Bytes) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| !text.contains('\0'))
}
