//! The embedded topic against what processes and disks do: a child process appends and says what was acknowledged; it is
//! killed with SIGKILL at random moments, or its files may not grow. Every acknowledged message is there, in its place,
//! in order, once.
#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use millrace_model::{Partition, SystemClock, wire::Payload};
use millrace_transport::{
    Consumer, ConsumerEvent, EmbeddedSettings, Metrics, Producer, Start, Topic, TopicSettings,
};
use std::{
    collections::BTreeMap,
    env,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

const FOLDER: &str = "MILLRACE_CRASH_FOLDER";
const FIRST: &str = "MILLRACE_CRASH_FIRST";
const PARTITIONS: u64 = 2;
/// Numbers of one round begin here, times the round.
const ROUND: u64 = 1_000_000;

async fn open(folder: &Path) -> Topic {
    let mut settings = EmbeddedSettings::new(folder.to_owned(), "logs");
    settings.partitions = PARTITIONS as u32;
    settings.segment_bytes = 300_000;
    let settings = TopicSettings::Embedded(settings);
    Topic::open(&settings, Arc::new(SystemClock), &Metrics::default()).await.unwrap()
}

/// Not a test by itself: what the child process runs. Appends until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let first: u64 = env::var(FIRST).unwrap().parse().unwrap();
    let topic = open(Path::new(&folder)).await;
    let (sender, mut reports) = mpsc::channel(200);
    let producer = topic.producer(sender).unwrap();
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
    };
    tokio::spawn(async move {
        loop {
            match tokio::time::timeout(Duration::from_millis(20), reports.recv()).await {
                Ok(report) => {
                    let report = report.unwrap();
                    let (partition, offset) = report.outcome.unwrap();
                    say(format!("ack {} {partition} {offset}", report.ticket));
                }
                Err(_) => match topic.healthy() {
                    Ok(()) => {}
                    Err(reason) => say(format!("unhealthy {reason}")),
                },
            }
        }
    });
    for number in first.. {
        // Hard to compress, so that segments fill.
        let hash = RandomState::new();
        let noise: Vec<u8> = (0..number % 50).flat_map(|n| hash.hash_one(n).to_le_bytes()).collect();
        let mut value = format!("{number} ").into_bytes();
        value.extend(noise);
        let payload = Payload { value: Bytes::from(value), ..Payload::default() };
        producer.send(Partition((number % PARTITIONS) as i32), payload, number).await.unwrap();
    }
}

/// A running child and what it says.
struct Appender {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    acknowledged: BTreeMap<u64, (i32, i64)>,
    unhealthy: Option<String>,
}

impl Appender {
    fn start(mut command: Command, folder: &Path, first: u64) -> Self {
        let mut process = command
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, folder)
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines, acknowledged: BTreeMap::new(), unhealthy: None }
    }

    /// Hears one line; `false` at the end.
    fn hear(&mut self) -> bool {
        let Some(line) = self.lines.next() else { return false };
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["ack", number, partition, offset] => {
                let place = (partition.parse().unwrap(), offset.parse().unwrap());
                assert!(
                    self.acknowledged.insert(number.parse().unwrap(), place).is_none(),
                    "acknowledged twice"
                );
                self.unhealthy = None;
            }
            ["unhealthy", ..] => self.unhealthy = Some(line),
            _ => {}
        }
        true
    }

    /// SIGKILL; and what it had said before.
    fn kill(mut self) -> BTreeMap<u64, (i32, i64)> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        while self.hear() {}
        std::mem::take(&mut self.acknowledged)
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Checks the whole topic against what was acknowledged.
async fn verify(folder: &Path, acknowledged: &BTreeMap<u64, (i32, i64)>) {
    let topic = open(folder).await;
    let mut consumer = topic.consumer("verify").unwrap();
    let Some(ConsumerEvent::Assigned(assignment)) = consumer.next().await else { panic!("an assignment") };
    let ends: BTreeMap<_, _> = assignment.partitions.iter().map(|p| (p.partition, p.high)).collect();
    let start = assignment.partitions.iter().map(|p| (p.partition, Start::Earliest)).collect();
    assignment.start(start);
    let mut found = BTreeMap::new();
    let mut last = BTreeMap::new();
    let mut next: BTreeMap<_, _> = ends.keys().map(|partition| (*partition, 0)).collect();
    // An offset that a torn block claimed is a gap: at the very end there may be one.
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(20), consumer.next()).await {
        let Some(ConsumerEvent::Messages(messages)) = event else { panic!("messages") };
        for message in messages {
            assert!(message.offset >= next[&message.partition], "offsets rise");
            next.insert(message.partition, message.offset + 1);
            if message.headers.is_empty() {
                let digits = message.value.split(|b| *b == b' ').next().unwrap();
                let number: u64 = std::str::from_utf8(digits).unwrap().parse().unwrap();
                assert!(last.insert(message.partition, number) < Some(number), "in order, each once");
                found.insert(number, (message.partition.0, message.offset));
            }
        }
        if next == ends {
            break;
        }
    }
    for (number, place) in acknowledged {
        assert_eq!(found.get(number), Some(place), "message {number}");
    }
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_survives_kill_9() {
    let folder = TempDir::new().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 0..5 {
        let executable = Command::new(env::current_exe().unwrap());
        let mut appender = Appender::start(executable, folder.path(), round * ROUND);
        let moment = 50 + RandomState::new().hash_one(round) % 4000;
        while (appender.acknowledged.len() as u64) < moment {
            assert!(appender.hear(), "the child ended by itself");
        }
        let said = appender.kill();
        eprintln!("round {round}: killed after {} of at least {moment} acknowledged messages", said.len());
        acknowledged.extend(said);
        verify(folder.path(), &acknowledged).await;
    }
}

/// A file that may not grow takes part of a block and then nothing, as a full disk does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_backpressure_and_not_loss() {
    let folder = TempDir::new().unwrap();
    let mut shell = Command::new("sh");
    // 100 blocks of 512 bytes; the signal that comes with it is ignored, as the write's own error says the same.
    shell.args(["-c", r#"trap "" XFSZ; ulimit -S -f 100; exec "$0" "$@""#]).arg(env::current_exe().unwrap());
    let mut appender = Appender::start(shell, folder.path(), 0);
    while appender.unhealthy.is_none() {
        assert!(appender.hear(), "the child ended by itself");
    }
    let before = appender.acknowledged.len();
    assert!(before > 10);
    assert!(appender.unhealthy.as_ref().unwrap().contains("cannot append"), "{:?}", appender.unhealthy);
    let raised = Command::new("prlimit")
        .args(["--fsize=unlimited", "--pid", &appender.process.id().to_string()])
        .status()
        .expect("prlimit (util-linux)");
    assert!(raised.success());
    while appender.acknowledged.len() < before + 2000 {
        assert!(appender.hear(), "the child ended by itself");
    }
    assert_eq!(appender.unhealthy, None);
    // Nothing between was left out.
    let numbers: Vec<_> = appender.acknowledged.keys().copied().collect();
    assert!(numbers[..before + 1000].iter().copied().eq(0..before as u64 + 1000));
    let acknowledged = appender.kill();
    verify(folder.path(), &acknowledged).await;
}
