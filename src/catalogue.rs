//! Commands that work on what is stored, without a server: `catalogue dump`, `catalogue rebuild` and `catalogue downgrade`.
//!
//! A dump is one object a line. What cannot be understood is given as bytes, in hexadecimal and as text besides, so that
//! whoever looks for a name finds it wherever it lies. It does not see what the database has freed and not overwritten
//! yet, uploads that were never finished, a Kafka topic, and the agents' own files.
//!
//! | `kind` | what |
//! |---|---|
//! | `row` | a row of the catalogue: `table`, `columns` |
//! | `snapshot_row` | the same, of a snapshot: `key`, `table`, `columns` |
//! | `record` | a record of a bundle: `key`, `shard`, `state` (`live`, `hidden`, `unknown`), `record` |
//! | `term` | a text of a bundle that is in no record's place: `key`, `shard`, `place`, `text` |
//! | `message` | a message of an embedded topic: `topic`, `partition`, `offset`, `headers`, `records` or `value` |
//! | `bytes` | what is none of these: `file` or `key`, `from`, `hex`, `text` |
//! | `unreadable` | what could not be read: `key`, `problem` |

use crate::{
    cli::{Code, RebuildArgs, written},
    settings::Settings,
};
use anyhow::Context;
use millrace_catalogue::{Catalogue, Cell, PartitionRow, SnapshotLine, TakeRows, read_snapshot};
use millrace_indexer::{
    rebuild::{self, Rebuilt},
    snapshots,
};
use millrace_model::{
    LogRecord, Row, ShardId, ShardMeta, SystemClock, TimeRange, Timestamp,
    fields::hex,
    wire::{self, Decoded},
};
use millrace_storage::Bundles;
use millrace_store::{SealedShard, TextPlace};
use millrace_transport::{Stored, TopicSettings, earliest_stored, read_stored};
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    io::{self, BufWriter, Read, Write},
    path::Path,
    sync::Arc,
};

type Out = BufWriter<io::Stdout>;

/// `millrace catalogue dump`.
pub(crate) async fn dump(settings: &Settings) -> anyhow::Result<Code> {
    let catalogue = Catalogue::open_to_read(&settings.catalogue, Arc::new(SystemClock)).await?;
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
    let mut rows = Rows { out: &mut out, snapshot: None, table: String::new(), columns: Vec::new() };
    match catalogue.read_all(&mut rows).await {
        Err(millrace_catalogue::ReadError::Taker(error)) => written(Err(error))?,
        outcome => drop(outcome?),
    }
    // Of a schema that is not this program's, or with rows that cannot be understood: they were given above.
    let states = states(&catalogue).await.unwrap_or_else(|error| {
        eprintln!("which bundles are live is not known: {error:#}");
        HashMap::new()
    });
    catalogue.close().await;
    let bundles = bundles_to_read(settings)?;
    let mut unreadable = 0u64;
    if let Some(bundles) = bundles {
        let file = std::env::temp_dir().join(format!("millrace-dump-{}", ShardId::random()));
        let _removed = Removed(&file);
        for (key, size) in bundles.list("").await? {
            let state = states.get(&key).copied().unwrap_or("unknown");
            match bundles.copy_to(&key, &file).await {
                Ok(_) => {}
                // Merged away or expired while this was read.
                Err(millrace_storage::Error::Missing { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            let dumped = tokio::task::block_in_place(|| dump_object(&mut out, &key, state, &file));
            if let Err(error) = dumped {
                let error = broken_pipe(error)?;
                unreadable += 1;
                let told = json!({ "kind": "unreadable", "key": key, "bytes": size, "problem": format!("{error:#}") });
                line(&mut out, &told)?;
                tokio::task::block_in_place(|| dump_bytes(&mut out, &key, &file))?;
            }
        }
    }
    if let TopicSettings::Embedded(topic) = &settings.topic {
        tokio::task::block_in_place(|| {
            read_stored(&topic.directory, |name, file, partition, stored| {
                line(&mut out, &stored_in_topic(name, file, partition.0, &stored))
            })
        })?;
    }
    written(out.flush())?;
    if unreadable > 0 {
        eprintln!("{unreadable} objects in storage could not be decoded: they are given as bytes");
        return Ok(Code::Findings);
    }
    Ok(Code::Ok)
}

/// Removes a file in the end, however that comes.
struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}

fn line(out: &mut Out, value: &Value) -> anyhow::Result<()> {
    written(writeln!(out, "{value}"))
}

/// Ends the program where nobody reads any more; gives anything else back.
fn broken_pipe(error: anyhow::Error) -> anyhow::Result<anyhow::Error> {
    match error.downcast::<io::Error>() {
        Ok(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            written(Err(error))?;
            Err(anyhow::anyhow!("nobody reads"))
        }
        Ok(error) => Ok(error.into()),
        Err(error) => Ok(error),
    }
}

/// What the catalogue says of each bundle that it knows.
async fn states(catalogue: &Catalogue) -> anyhow::Result<HashMap<String, &'static str>> {
    let mut states = HashMap::new();
    let live = catalogue.snapshot(millrace_indexer::GROUP, TimeRange::ALL, None).await?.shards;
    states.extend(live.into_iter().map(|shard| (shard.key, "live")));
    for hidden in catalogue.hidden(Timestamp::MAX).await? {
        states.insert(hidden.shard.key, "hidden");
    }
    Ok(states)
}

/// The storage, unless there is none yet: this makes no folder.
fn bundles_to_read(settings: &Settings) -> anyhow::Result<Option<Bundles>> {
    let folder = settings.storage.url.strip_prefix("file://").map(Path::new);
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Ok(None);
    }
    Ok(Some(Bundles::open(&settings.storage)?))
}

/// Rows of the catalogue, or of a snapshot of it.
struct Rows<'a> {
    out: &'a mut Out,
    snapshot: Option<&'a str>,
    table: String,
    columns: Vec<String>,
}

impl TakeRows for Rows<'_> {
    fn table(&mut self, name: &str, columns: &[&str]) -> io::Result<()> {
        name.clone_into(&mut self.table);
        self.columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Ok(())
    }

    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        let columns: Map<String, Value> = self.columns.iter().cloned().zip(cells.iter().map(cell)).collect();
        match self.snapshot {
            None => {
                writeln!(self.out, "{}", json!({ "kind": "row", "table": self.table, "columns": columns }))
            }
            Some(key) => writeln!(
                self.out,
                "{}",
                json!({ "kind": "snapshot_row", "key": key, "table": self.table, "columns": columns })
            ),
        }
    }
}

/// A value; bytes as text too.
fn cell(cell: &Cell) -> Value {
    match cell {
        Cell::Bytes(bytes) => bytes_as_json(bytes),
        other => other.to_json(),
    }
}

fn bytes_as_json(bytes: &[u8]) -> Value {
    json!({ "hex": hex(bytes), "text": String::from_utf8_lossy(bytes) })
}

/// Everything in one object of the storage.
fn dump_object(out: &mut Out, key: &str, state: &str, file: &Path) -> anyhow::Result<()> {
    if snapshots::is_snapshot(key) {
        let mut rows = Rows { out, snapshot: Some(key), table: String::new(), columns: Vec::new() };
        let taken = |line| -> anyhow::Result<()> {
            Ok(match line {
                SnapshotLine::Table { name, columns } => {
                    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                    rows.table(&name, &columns)
                }
                SnapshotLine::Row(cells) => rows.row(&cells),
            }?)
        };
        return read_snapshot(file, taken).map(drop);
    }
    let shard = SealedShard::open(file)?;
    let id = shard.meta().id;
    shard.each_record(|row| -> anyhow::Result<()> {
        line(
            out,
            &json!({ "kind": "record", "key": key, "shard": id, "state": state, "record": record_of(&row) }),
        )
    })?;
    shard.each_text(|place, bytes| -> anyhow::Result<()> {
        let place = match place {
            TextPlace::Mask => "mask",
            TextPlace::Shape => "shape",
            TextPlace::Resource => "resource",
            TextPlace::Word => "word",
            TextPlace::Term => "term",
            TextPlace::Counted => "counted",
        };
        let text = String::from_utf8_lossy(bytes);
        line(
            out,
            &json!({ "kind": "term", "key": key, "shard": id, "state": state, "place": place, "text": text }),
        )
    })
}

/// A file as it is, a stretch a line.
fn dump_bytes(out: &mut Out, key: &str, file: &Path) -> anyhow::Result<()> {
    let mut file = std::fs::File::open(file).with_context(|| format!("reading {key}"))?;
    let (mut stretch, mut from) = (vec![0; 1 << 16], 0);
    loop {
        let read = file.read(&mut stretch).with_context(|| format!("reading {key}"))?;
        if read == 0 {
            return Ok(());
        }
        let bytes = bytes_as_json(&stretch[..read]);
        line(
            out,
            &json!({ "kind": "bytes", "key": key, "from": from, "hex": bytes["hex"], "text": bytes["text"] }),
        )?;
        from += read;
    }
}

fn record_of(row: &Row) -> Value {
    let mut fields = fields(&row.record);
    fields["_id"] = json!(row.id);
    fields["_time"] = json!(row.time);
    fields["_stream"] = json!(row.stream);
    fields
}

pub(crate) fn fields(record: &LogRecord) -> Value {
    json!({
        "timestamp": record.timestamp, "observed_timestamp": record.observed_timestamp,
        "severity_number": record.severity.number(), "severity_text": record.severity_text,
        "body": record.body, "resource": record.resource, "attributes": record.attributes,
        "trace_id": record.trace_id.map(|id| hex(&id)), "span_id": record.span_id.map(|id| hex(&id)),
    })
}

fn stored_in_topic(topic: &str, file: &Path, partition: i32, stored: &Stored<'_>) -> Value {
    let message = match stored {
        Stored::Message(message) => message,
        Stored::Bytes { from, bytes } => {
            let bytes = bytes_as_json(bytes);
            return json!({
                "kind": "bytes", "file": file.display().to_string(), "topic": topic, "partition": partition,
                "from": from, "hex": bytes["hex"], "text": bytes["text"],
            });
        }
    };
    let headers: Map<String, Value> = message
        .headers
        .iter()
        .map(|(name, value)| match std::str::from_utf8(value) {
            Ok(text) => (name.clone(), json!(text)),
            Err(_) => (name.clone(), bytes_as_json(value)),
        })
        .collect();
    let mut told = json!({
        "kind": "message", "topic": topic, "partition": partition, "offset": message.offset,
        "timestamp": message.timestamp, "headers": headers,
    });
    if !message.key.is_empty() {
        told["key"] = bytes_as_json(&message.key);
    }
    match wire::decode(&message.headers, &message.value) {
        // These are records and nothing else: the program wrote them.
        Ok(Decoded::Batch(_, records)) => told["records"] = records.iter().map(fields).collect(),
        // Others may have put more into it than was understood.
        Ok(Decoded::Foreign(_, records)) => {
            told["records"] = records.iter().map(fields).collect();
            told["value"] = bytes_as_json(&message.value);
        }
        Ok(Decoded::TopicMarker(_)) => told["value"] = bytes_as_json(&message.value),
        Err(error) => {
            told["problem"] = json!(error.to_string());
            told["value"] = bytes_as_json(&message.value);
        }
    }
    told
}

/// `millrace catalogue downgrade`.
pub(crate) async fn downgrade(settings: &Settings, to: i64) -> anyhow::Result<Code> {
    let had = Catalogue::take_back(&settings.catalogue, to, Arc::new(SystemClock)).await?;
    eprintln!("the catalogue's schema had version {had} and has version {to} now");
    Ok(Code::Ok)
}

/// `millrace catalogue rebuild`.
pub(crate) async fn rebuild(settings: &Settings, args: &RebuildArgs) -> anyhow::Result<Code> {
    let clock = Arc::new(SystemClock);
    let bundles = bundles_to_read(settings)?.context("there is no storage, so there are no snapshots")?;
    let catalogue = Catalogue::open(&settings.catalogue, clock.clone()).await?;
    let request = rebuild::Request { snapshot: args.snapshot.clone(), replace: args.replace_catalogue };
    let streams = &settings.indexer.streams;
    let rebuilt =
        rebuild::rebuild(&catalogue, &bundles, streams, clock.as_ref(), &request, &std::env::temp_dir())
            .await;
    catalogue.close().await;
    let rebuilt = rebuilt?;
    for (key, problem) in &rebuilt.passed_over {
        eprintln!("passed over {key}: {problem}");
    }
    written(tell(&mut io::stdout().lock(), &rebuilt, settings))?;
    let lacking = lacking(&rebuilt, settings)?;
    for what in &lacking {
        eprintln!("LOST: {what}");
    }
    Ok(if lacking.is_empty() { Code::Ok } else { Code::Findings })
}

/// Says what was restored, and what is to come again.
fn tell(out: &mut impl Write, rebuilt: &Rebuilt, settings: &Settings) -> io::Result<()> {
    let taken = rebuilt.restored.head.at;
    writeln!(out, "restored from {}, taken at {taken}: {} rows", rebuilt.key, rebuilt.restored.rows)?;
    writeln!(
        out,
        "{} shards are there, {} are gone because their time is over",
        rebuilt.shards, rebuilt.over
    )?;
    for row in &rebuilt.partitions {
        writeln!(out, "{}", rebuild::describe(row, taken))?;
    }
    if !matches!(settings.topic, TopicSettings::Embedded(_)) {
        writeln!(out, "what the topic has no more by then is lost; the audit will tell it as missing")?;
    }
    if !rebuilt.unknown.is_empty() {
        writeln!(
            out,
            "{} bundles in storage are of no shard of the snapshot: they are left alone, and what was published with \
             them is read again from the topic",
            rebuilt.unknown.len()
        )?;
    }
    Ok(())
}

/// What cannot come back.
fn lacking(rebuilt: &Rebuilt, settings: &Settings) -> anyhow::Result<Vec<String>> {
    let of_shard = |shard: &ShardMeta| {
        format!(
            "{} records of stream {} from {} to {}: the bundle {} of shard {} is not in storage",
            shard.records, shard.stream, shard.first, shard.last, shard.key, shard.id
        )
    };
    let mut lacking: Vec<String> = rebuilt.lost.iter().map(of_shard).collect();
    let TopicSettings::Embedded(topic) = &settings.topic else { return Ok(lacking) };
    for (partition, earliest) in earliest_stored(&topic.directory, &topic.name)? {
        let is_it = |row: &&PartitionRow| row.topic == topic.name && row.partition == partition;
        let next = rebuilt.partitions.iter().find(is_it).and_then(|row| row.next_offset).unwrap_or(0);
        if earliest > next {
            lacking.push(format!(
                "offsets {next} to {earliest} of partition {partition}: the topic has them no more"
            ));
        }
    }
    Ok(lacking)
}
