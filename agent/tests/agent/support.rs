//! A topic in memory that can be made to misbehave, an agent to run against it, and the oracle: what was shipped must
//! account for every byte.

use millrace_agent::{
    Components, FileSettings, Heartbeats, JournaldSettings, Metrics, Settings, SourceKind, SourceSettings,
    Status, run,
};
use millrace_intake::Process;
use millrace_model::{
    LogRecord, Partition, SourceId, SystemClock, Value,
    wire::{self, Decoded, Envelope, Payload, RunKind, SkipReason},
};
use millrace_transport::{DeliveryReport, Error, Producer, Rejected};
use prometheus_client::registry::Registry;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::{JoinError, JoinHandle},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_mins(1);

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < DEADLINE, "waited in vain until {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[derive(Default)]
struct Shelf {
    messages: Vec<(Partition, Payload)>,
    /// Taken, but not acknowledged.
    held: Vec<(u64, Partition, Payload)>,
    holding: bool,
    /// Acknowledge so many more, then hold.
    hold_after: Option<usize>,
    largest: usize,
    partitions: Option<u32>,
    refusing: bool,
    /// To the agent that runs.
    reports: Option<mpsc::Sender<DeliveryReport>>,
    /// Messages that hold this are refused.
    poison: Option<&'static str>,
    /// Dead letters, with where they belong and why.
    dead: Vec<(Partition, Payload, String)>,
    no_dead_letters: bool,
}

/// The topic.
#[derive(Clone, Default)]
pub(crate) struct Topic(Arc<Mutex<Shelf>>);

impl Topic {
    pub(crate) fn new() -> Self {
        let topic = Self::default();
        topic.change(|shelf| {
            shelf.partitions = Some(4);
            shelf.largest = usize::MAX;
        });
        topic
    }

    fn change<T>(&self, change: impl FnOnce(&mut Shelf) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// Messages are taken, but not acknowledged, from now on.
    pub(crate) fn hold(&self) {
        self.change(|shelf| shelf.holding = true);
    }

    /// Acknowledges so many messages, and no more.
    pub(crate) fn hold_after(&self, messages: usize) {
        self.change(|shelf| shelf.hold_after = Some(messages));
    }

    /// A new life of the agent: what was not acknowledged may or may not lie in the topic. Here: every second one.
    pub(crate) fn forget_held(&self) {
        self.change(|shelf| {
            let held = std::mem::take(&mut shelf.held);
            let kept = held.into_iter().step_by(2).map(|(_, partition, payload)| (partition, payload));
            shelf.messages.extend(kept);
            (shelf.holding, shelf.hold_after) = (false, None);
        });
    }

    /// Acknowledges all that is held, and what comes.
    pub(crate) fn release(&self) {
        let held = self.change(|shelf| {
            (shelf.holding, shelf.hold_after) = (false, None);
            std::mem::take(&mut shelf.held)
        });
        for (ticket, partition, payload) in held {
            let outcome = self.change(|shelf| {
                shelf.messages.push((partition, payload));
                Ok((partition, shelf.messages.len() as i64 - 1))
            });
            let reports = self.change(|shelf| shelf.reports.clone()).expect("an agent runs");
            reports.try_send(DeliveryReport { ticket, outcome }).expect("there is room for reports");
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.change(|shelf| shelf.held.iter().map(|(_, _, payload)| payload.value.len()).sum())
    }

    pub(crate) fn set_largest(&self, bytes: usize) {
        self.change(|shelf| shelf.largest = bytes);
    }

    pub(crate) fn set_partitions(&self, partitions: Option<u32>) {
        self.change(|shelf| shelf.partitions = partitions);
    }

    pub(crate) fn refuse(&self, refusing: bool) {
        self.change(|shelf| shelf.refusing = refusing);
    }

    /// Messages that hold this are refused from now on.
    pub(crate) fn refuse_what_holds(&self, poison: Option<&'static str>) {
        self.change(|shelf| shelf.poison = poison);
    }

    /// Whether dead letters are taken.
    pub(crate) fn keep_dead_letters(&self, keep: bool) {
        self.change(|shelf| shelf.no_dead_letters = !keep);
    }

    /// The bodies of dead letters, with the reasons.
    pub(crate) fn dead_letters(&self) -> Vec<(String, String)> {
        let dead = self.change(|shelf| shelf.dead.clone());
        let bodies = dead.into_iter().flat_map(|(_, payload, reason)| {
            let Ok(Decoded::Batch(_, records)) = wire::decode(&payload.headers, &payload.value) else {
                panic!()
            };
            records.into_iter().map(move |record| (record.body.to_string(), reason.clone()))
        });
        bodies.collect()
    }

    pub(crate) fn messages(&self) -> usize {
        self.change(|shelf| shelf.messages.len())
    }

    pub(crate) fn read(&self) -> Shipped {
        let messages = self.change(|shelf| shelf.messages.clone());
        let mut shipped = Shipped::default();
        for (partition, payload) in messages {
            match wire::decode(&payload.headers, &payload.value).unwrap() {
                Decoded::Batch(envelope, records) => {
                    shipped.sources.entry(envelope.source).or_default().add(partition, *envelope, records);
                }
                other => panic!("not a batch: {other:?}"),
            }
        }
        shipped
    }
}

struct TestProducer {
    topic: Topic,
    reports: mpsc::Sender<DeliveryReport>,
}

impl Producer for TestProducer {
    async fn partitions(&self) -> Result<u32, Error> {
        self.topic
            .change(|shelf| shelf.partitions)
            .ok_or(Error::Refused { topic: "test".to_owned(), reason: "nobody answers".to_owned() })
    }

    async fn send(&self, partition: Partition, payload: Payload, ticket: u64) -> Result<(), Error> {
        let permit = self.reports.reserve().await.map_err(|_| Error::Closed)?;
        let outcome = self.topic.change(|shelf| {
            let size = payload.value.len();
            if size > shelf.largest {
                return Some(Err(Rejected::TooLarge { bytes: size }));
            }
            if partition.0 >= shelf.partitions.unwrap_or(u32::MAX) as i32 {
                return Some(Err(Rejected::NoSuchPartition(partition)));
            }
            let poisoned =
                |poison: &str| payload.value.windows(poison.len()).any(|part| part == poison.as_bytes());
            if shelf.refusing || shelf.poison.is_some_and(poisoned) {
                return Some(Err(Rejected::Refused("not you".to_owned())));
            }
            if shelf.hold_after == Some(0) {
                shelf.holding = true;
            }
            if shelf.holding {
                shelf.held.push((ticket, partition, payload));
                return None;
            }
            shelf.hold_after = shelf.hold_after.map(|left| left - 1);
            shelf.messages.push((partition, payload));
            Some(Ok((partition, shelf.messages.len() as i64 - 1)))
        });
        if let Some(outcome) = outcome {
            permit.send(DeliveryReport { ticket, outcome });
        }
        Ok(())
    }

    async fn keep_dead(&self, partition: Partition, original: Payload, reason: &str) -> Result<(), Error> {
        self.topic.change(|shelf| {
            if shelf.no_dead_letters {
                let reason = "no room for the dead".to_owned();
                return Err(Error::Refused { topic: "test.dead".to_owned(), reason });
            }
            shelf.dead.push((partition, original, reason.to_owned()));
            Ok(())
        })
    }

    async fn flush(&self, _within: Duration) -> bool {
        true
    }
}

/// What was shipped, source by source.
#[derive(Default)]
pub(crate) struct Shipped {
    pub(crate) sources: BTreeMap<SourceId, ShippedSource>,
}

#[derive(Default)]
pub(crate) struct ShippedSource {
    pub(crate) partitions: Vec<Partition>,
    pub(crate) envelopes: Vec<Envelope>,
    /// By their first position: length, and the record or why there is none.
    pub(crate) runs: BTreeMap<u64, (u64, Result<LogRecord, SkipReason>)>,
}

impl ShippedSource {
    /// Takes a message in. What comes twice must be the same both times.
    fn add(&mut self, partition: Partition, envelope: Envelope, records: Vec<LogRecord>) {
        let mut at = envelope.extent.start;
        let mut records = records.into_iter();
        for run in &envelope.extent.runs {
            let what = match run.kind {
                RunKind::Record => Ok(records.next().unwrap()),
                RunKind::Skipped(reason) => Err(reason),
            };
            // Neighbouring skipped runs may be told in one or in several.
            if let Some((length, before)) = self.runs.get(&at)
                && let (Ok(before), Ok(now)) = (before, &what)
            {
                assert_eq!((*length, &before.body), (run.length, &now.body), "the same bytes, framed anew");
            }
            self.runs.insert(at, (run.length, what));
            at += run.length;
        }
        assert_eq!(at, envelope.extent.end);
        self.partitions.push(partition);
        self.envelopes.push(envelope);
    }

    pub(crate) fn start(&self) -> u64 {
        *self.runs.keys().next().unwrap_or(&0)
    }

    /// Checks that the runs tile and returns where they end.
    pub(crate) fn end(&self) -> u64 {
        let mut at = self.start();
        for (start, (length, _)) in &self.runs {
            assert!(*start <= at, "nothing is said of {at}..{start}");
            at = at.max(start + length);
        }
        at
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        let records = self.runs.values().filter_map(|(_, what)| what.as_ref().ok());
        records.map(|record| record.body.to_string()).collect()
    }

    pub(crate) fn skipped(&self, reason: SkipReason) -> u64 {
        self.runs.values().filter(|(_, what)| *what == Err(reason)).map(|(length, _)| length).sum()
    }

    pub(crate) fn open(&self) -> &wire::SourceOpen {
        self.envelopes
            .iter()
            .find_map(|envelope| envelope.open.as_ref())
            .expect("its first message says what it is")
    }

    pub(crate) fn close(&self) -> Option<&wire::SourceClose> {
        self.envelopes.iter().find_map(|envelope| envelope.close.as_ref())
    }

    /// Every checksum is that of the bytes of the file.
    pub(crate) fn check_sums(&self, file: &[u8]) {
        for envelope in &self.envelopes {
            let extent = &envelope.extent;
            let bytes = &file[extent.start as usize..extent.end as usize];
            assert_eq!(extent.crc32c, crc32c::crc32c(bytes), "{}..{}", extent.start, extent.end);
        }
    }
}

impl Shipped {
    /// All bodies, source by source.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.sources.values().flat_map(ShippedSource::bodies).collect()
    }

    pub(crate) fn sorted_bodies(&self) -> Vec<String> {
        let mut bodies = self.bodies();
        bodies.sort();
        bodies
    }

    pub(crate) fn only(&self) -> &ShippedSource {
        assert_eq!(self.sources.len(), 1, "one source");
        self.sources.values().next().unwrap()
    }

    /// The one source whose first message fits.
    pub(crate) fn find(&self, fits: impl Fn(&wire::SourceOpen) -> bool) -> &ShippedSource {
        let mut fitting = self.sources.values().filter(|source| fits(source.open()));
        let found = fitting.next().expect("a source that fits");
        assert!(fitting.next().is_none(), "only one source fits");
        found
    }
}

type Life = (Runtime, JoinHandle<Result<(), millrace_agent::Error>>, CancellationToken);

/// A host: a folder with logs, a folder with state, a topic, and (sometimes) an agent.
pub(crate) struct Host {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) topic: Topic,
    pub(crate) settings: Settings,
    pub(crate) status: Status,
    pub(crate) registry: Registry,
    /// A runtime a life: what a killed process would not finish ends with it.
    running: Option<Life>,
    /// Where it says how it is.
    pub(crate) heartbeats: Option<Heartbeats>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        let mut host = Self {
            topic: Topic::new(),
            settings: Settings {
                state_dir: folder.path().join("state"),
                host: "test-host".to_owned(),
                ..Settings::default()
            },
            status: Status::new(),
            registry: Registry::default(),
            running: None,
            heartbeats: None,
            folder,
        };
        host.watch("app", &["*.log"]);
        host
    }

    /// Reads these files under that name, and forgets what was to be read before.
    pub(crate) fn watch(&mut self, name: &str, patterns: &[&str]) {
        let include = patterns.iter().map(|pattern| self.path(pattern).display().to_string()).collect();
        let file = FileSettings {
            include,
            rotate_wait: Duration::from_millis(50),
            rescan: Duration::from_millis(10),
            // On a busy machine half a line may wait long for the rest.
            line_wait: Duration::ZERO,
            ..FileSettings::default()
        };
        let stream = "app".parse().unwrap();
        self.settings.sources = vec![SourceSettings {
            name: name.to_owned(),
            stream,
            process: Process::default(),
            kind: SourceKind::File(Box::new(file)),
        }];
    }

    pub(crate) fn file_settings(&mut self) -> &mut FileSettings {
        match &mut self.settings.sources[0].kind {
            SourceKind::File(file) => file,
            _ => panic!("another kind"),
        }
    }

    /// Reads the journal in this folder, and nothing else.
    pub(crate) fn watch_journal(&mut self, directory: &Path) {
        let journal =
            JournaldSettings { directory: Some(directory.to_owned()), ..JournaldSettings::default() };
        let (name, stream) = ("journal".to_owned(), "journal".parse().unwrap());
        self.settings.sources = vec![SourceSettings {
            name,
            stream,
            process: Process::default(),
            kind: SourceKind::Journald(journal),
        }];
    }

    pub(crate) fn journal_settings(&mut self) -> &mut JournaldSettings {
        match &mut self.settings.sources[0].kind {
            SourceKind::Journald(journal) => journal,
            _ => panic!("another kind"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("logs").join(name)
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.settings.state_dir.join(name)
    }

    pub(crate) fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        append(&self.path(name), text.as_ref());
    }

    pub(crate) fn start(&mut self) {
        let (sender, reports) = mpsc::channel(1000);
        self.registry = Registry::default();
        self.status = Status::new();
        self.topic.change(|shelf| shelf.reports = Some(sender.clone()));
        let components = Components {
            producer: TestProducer { topic: self.topic.clone(), reports: sender },
            reports,
            clock: Arc::new(SystemClock),
            metrics: Metrics::register(&mut self.registry),
            status: self.status.clone(),
            heartbeats: self.heartbeats.clone(),
            ingest: millrace_agent::Ingest::default(),
        };
        let stop = CancellationToken::new();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let task = runtime.spawn(run(self.settings.clone(), components, stop.clone()));
        self.running = Some((runtime, task, stop));
    }

    /// Starts, and says why it cannot.
    pub(crate) async fn start_in_vain(&mut self) -> String {
        self.start();
        let (runtime, task, _) = self.running.take().unwrap();
        let outcome = task.await;
        end(runtime);
        outcome.unwrap().unwrap_err().to_string()
    }

    /// Stops in good order.
    pub(crate) async fn stop(&mut self) {
        if let Some((runtime, task, stop)) = self.running.take() {
            stop.cancel();
            let outcome = task.await;
            end(runtime);
            outcome.unwrap().unwrap();
        }
    }

    /// Ends as `kill -9` does: nothing is written any more (but what was being written), what was not acknowledged may
    /// be lost.
    pub(crate) async fn kill(&mut self) {
        if let Some((runtime, task, _)) = self.running.take() {
            task.abort();
            let outcome = task.await;
            end(runtime);
            assert!(outcome.as_ref().is_err_and(JoinError::is_cancelled), "{outcome:?}");
        }
        self.topic.forget_held();
    }

    /// Are these files there, and in the durable checkpoint?
    pub(crate) fn knows(&self, names: &[String]) -> bool {
        let checkpoint = fs::read_to_string(self.state("checkpoint.json")).unwrap_or_default();
        names.iter().all(|name| {
            fs::metadata(self.path(name))
                .is_ok_and(|metadata| checkpoint.contains(&format!("\"inode\":{},", metadata.ino())))
        })
    }

    pub(crate) async fn shipped(&self, what: &str, so: impl Fn(&Shipped) -> bool) -> Shipped {
        let topic = self.topic.clone();
        until(what, || so(&topic.read())).await;
        self.topic.read()
    }

    pub(crate) async fn shipped_bodies(&self, bodies: &[&str]) -> Shipped {
        let mut expected: Vec<String> = bodies.iter().map(|body| (*body).to_owned()).collect();
        expected.sort();
        let shipped = self
            .shipped(&format!("{bodies:?} are shipped"), |shipped| shipped.bodies().len() >= bodies.len())
            .await;
        assert_eq!(shipped.sorted_bodies(), expected);
        shipped
    }

    /// A counter's or gauge's value; 0 if there is none.
    pub(crate) fn metric(&self, name: &str) -> i64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let lines = text.lines().filter(|line| {
            line.strip_prefix("millrace_agent_")
                .is_some_and(|rest| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))
        });
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()).sum()
    }

    /// `read = shipped + dropped + in flight`, in bytes and in records.
    pub(crate) fn check_conservation(&self) {
        for unit in ["bytes", "records"] {
            let of = |name: &str| self.metric(&format!("{name}_{unit}_total"));
            let (read, shipped, dropped) = (of("read"), of("shipped"), of("dropped"));
            let in_flight = self.metric(&format!("in_flight_{unit}")) + of("reread");
            assert_eq!(read, shipped + dropped + in_flight, "{unit}: {shipped} + {dropped} + {in_flight}");
        }
    }
}

/// Waits for what the runtime cannot cancel.
fn end(runtime: Runtime) {
    std::thread::spawn(move || runtime.shutdown_timeout(DEADLINE)).join().unwrap();
}

pub(crate) fn append(path: &Path, bytes: &[u8]) {
    let mut file: File = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

pub(crate) fn attribute<'a>(record: &'a LogRecord, name: &str) -> Option<&'a Value> {
    record.attributes.get(name)
}
