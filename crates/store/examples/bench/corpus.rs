//! Lines of files become rows as they do on their way from an agent to an indexer: parsed, gathered into batches,
//! encoded as messages, decoded again. A file is a source, its rows lie at byte offsets.
//!
//! The clock is made up: a batch is observed a moment after its last line's own time, as a tailed file's would be; lines
//! without a time come a few milliseconds after one another. So every run makes the same rows, and [`Truth`] makes
//! each of them again.

use crate::{
    exact,
    meter::{self, Outcome},
};
use millrace_intake::{Batch, Heading, Parsers, Policy, batch::Raw};
use millrace_model::{
    AgentId, Attributes, BootId, InstanceId, LogRecord, Partition, RecordId, Row, SourceId, StreamName,
    Timestamp,
    wire::{self, Decoded, Sender, SkipReason},
};
use millrace_store::HotRow;
use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Lines of a batch.
const BATCH: usize = 500;
/// When the first line is read: 2026-01-15.
const START: Timestamp = Timestamp(1_768_435_200_000_000_000);
/// Between two lines that have no time of their own.
const STEP: Duration = Duration::from_millis(7);

/// A message's rows, as the indexer gets them.
pub(crate) struct Arrival {
    pub(crate) rows: Vec<HotRow>,
    /// Bytes of their lines, line ends included.
    pub(crate) raw: u64,
    /// CPU seconds to make records of the message's bytes.
    pub(crate) decoding: f64,
}

/// Where a batch began and when it was observed.
struct Mark {
    start: u64,
    observed: Timestamp,
}

/// A file as it was read.
struct Source {
    path: PathBuf,
    resource: Arc<Attributes>,
    marks: Vec<Mark>,
}

impl Source {
    fn new(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut resource = Attributes::new();
        resource.set("host.name", "bench-01");
        resource.set("log.file.path", format!("/var/log/{name}"));
        Self { path: path.to_owned(), resource: Arc::new(resource), marks: Vec::new() }
    }
}

/// The source being read.
struct Reading {
    id: SourceId,
    file: BufReader<File>,
    at: u64,
}

/// Reads files one after the other, never holding more than a batch.
pub(crate) struct Feed {
    waiting: VecDeque<PathBuf>,
    sources: HashMap<SourceId, Source>,
    reading: Option<Reading>,
    lines_left: usize,
    observed: Timestamp,
    next_offset: i64,
}

impl Feed {
    /// At most `lines` lines of these files.
    pub(crate) fn new(files: &[PathBuf], lines: usize) -> Self {
        Self {
            waiting: files.iter().cloned().collect(),
            sources: HashMap::new(),
            reading: None,
            lines_left: lines,
            observed: START,
            next_offset: 0,
        }
    }

    /// The offset that the next message will have.
    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The rows of the next batch; `None` when all is read.
    pub(crate) fn next(&mut self) -> Outcome<Option<Arrival>> {
        loop {
            if self.lines_left == 0 {
                return Ok(None);
            }
            let Some(reading) = &mut self.reading else {
                let Some(path) = self.waiting.pop_front() else { return Ok(None) };
                let id = SourceId::derived(&[b"bench", path.as_os_str().as_encoded_bytes()]);
                let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                self.reading = Some(Reading { id, file: BufReader::with_capacity(1 << 18, file), at: 0 });
                self.sources.insert(id, Source::new(&path));
                continue;
            };
            let lines = read_lines(&mut reading.file, BATCH.min(self.lines_left))?;
            if lines.is_empty() {
                self.reading = None;
                continue;
            }
            self.lines_left -= lines.len();
            if let Some(arrival) = self.arrival(&lines)? {
                return Ok(Some(arrival));
            }
        }
    }

    /// The lines as a message, and that message's rows; `None` where all lines are blank.
    fn arrival(&mut self, lines: &[Vec<u8>]) -> Outcome<Option<Arrival>> {
        let Some(reading) = &mut self.reading else { return Ok(None) };
        let Some(source) = self.sources.get_mut(&reading.id) else { return Ok(None) };
        let resource = &source.resource;
        let own_time = |line: &Vec<u8>| record(line, START, resource).timestamp;
        let untimed = self.observed.plus(STEP * lines.len() as u32);
        let lag = Duration::from_millis(60 + (reading.at ^ reading.at >> 7) % 90);
        self.observed =
            lines.iter().rev().find_map(own_time).map_or(untimed, |time| time.plus(lag)).max(self.observed);
        source.marks.push(Mark { start: reading.at, observed: self.observed });
        let mut batch = Batch::new(reading.at);
        for line in lines {
            let length = line.len() as u64;
            if line.trim_ascii().is_empty() {
                batch.skip(length, Raw::Bytes(line), SkipReason::Blank);
            } else {
                let record = record(line, self.observed, resource);
                batch.record(
                    length,
                    line.len(),
                    Raw::Bytes(line),
                    Policy::nothing().redact(record, &mut |_| {}),
                );
            }
        }
        let raw = batch.end() - reading.at;
        reading.at = batch.end();
        let id = reading.id;
        if batch.records() == 0 {
            return Ok(None);
        }
        let payload = batch.seal(heading(id)).payload;
        let (decoding, decoded) = meter::cpu(|| wire::decode(&payload.headers, &payload.value))?;
        let Decoded::Batch(envelope, records) = decoded? else { return Err("not a batch".into()) };
        let offset = self.next_offset;
        self.next_offset += 1;
        let rows = envelope.extent.record_positions().zip(records).map(|(position, record)| {
            let id = RecordId { source: id, position, index: 0 };
            HotRow { partition: Partition(0), offset, row: row(id, record) }
        });
        Ok(Some(Arrival { rows: rows.collect(), raw, decoding }))
    }
}

/// What went in. Holds the files' bytes.
pub(crate) struct Truth {
    sources: HashMap<SourceId, Source>,
    texts: HashMap<SourceId, Vec<u8>>,
}

impl Truth {
    /// Of what a feed over the same files and lines gives.
    pub(crate) fn new(files: &[PathBuf], lines: usize) -> Outcome<Self> {
        let mut feed = Feed::new(files, lines);
        while feed.next()?.is_some() {}
        let text = |(id, source): (&SourceId, &Source)| Ok((*id, std::fs::read(&source.path)?));
        let texts = feed.sources.iter().map(text).collect::<Outcome<_>>()?;
        Ok(Self { sources: feed.sources, texts })
    }

    /// Is the row one that went in?
    pub(crate) fn knows(&self, row: &Row) -> bool {
        self.row(row.id).is_some_and(|expected| exact::same(row, &expected))
    }

    /// The row that was made of the line at that place.
    fn row(&self, id: RecordId) -> Option<Row> {
        let source = self.sources.get(&id.source)?;
        let text = self.texts.get(&id.source)?.get(usize::try_from(id.position).ok()?..)?;
        let end = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
        let mark = source.marks.partition_point(|mark| mark.start <= id.position).checked_sub(1)?;
        Some(row(id, record(&text[..end], source.marks[mark].observed, &source.resource)))
    }
}

/// The next lines, with their ends.
fn read_lines(file: &mut impl BufRead, most: usize) -> Outcome<Vec<Vec<u8>>> {
    let mut lines = Vec::with_capacity(most);
    while lines.len() < most {
        let mut line = Vec::new();
        if file.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        lines.push(line);
    }
    Ok(lines)
}

/// The record of a line that is given with its end.
fn record(line: &[u8], observed: Timestamp, resource: &Arc<Attributes>) -> LogRecord {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Parsers::default().parse(line.strip_suffix(b"\r").unwrap_or(line), observed, resource)
}

fn row(id: RecordId, record: LogRecord) -> Row {
    Row { id, stream: StreamName::default(), time: record.time(), record }
}

fn heading(source: SourceId) -> Heading {
    let sender = Sender { agent: AgentId(1), instance: InstanceId(1), epoch: 1, boot: BootId(1) };
    Heading { stream: StreamName::default(), sender, source, open: None, close: None }
}
