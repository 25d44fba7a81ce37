//! Measures an agent from a file to the topic's door: megabytes a CPU-second, and memory. The topic takes everything
//! at once, so what is measured is reading, framing, parsing, batching, encoding and checkpoints.
//!
//! Of a folder it measures what its files (`*.log`) cost while nothing happens to them.
//!
//! `cargo run --release -p millrace-agent --example throughput FILE|FOLDER [auto|json|access|…] [redact]`
//! `redact`: all kinds are looked for and masked.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use millrace_agent::{Components, FileSettings, Metrics, Settings, SourceKind, SourceSettings, Status, run};
use millrace_intake::{
    Parser, Policy, Process,
    redact::{Action, Kind, Rule, Search},
};
use millrace_model::{Partition, StreamName, SystemClock, wire::Payload};
use millrace_transport::{DeliveryReport, Error, Producer};
use prometheus_client::registry::Registry;
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

struct Sink {
    reports: mpsc::Sender<DeliveryReport>,
    bytes: Arc<AtomicU64>,
    end: Arc<AtomicU64>,
}

impl Producer for Sink {
    async fn partitions(&self) -> Result<u32, Error> {
        Ok(12)
    }

    async fn send(&self, partition: Partition, payload: Payload, ticket: u64) -> Result<(), Error> {
        let range = payload.headers.iter().find(|(name, _)| name == "millrace.range").unwrap();
        let end = std::str::from_utf8(&range.1).unwrap().split_once('-').unwrap().1.parse().unwrap();
        self.bytes.fetch_add(payload.value.len() as u64, Ordering::Relaxed);
        self.reports
            .send(DeliveryReport { ticket, outcome: Ok((partition, 0)) })
            .await
            .map_err(|_| Error::Closed)?;
        self.end.fetch_max(end, Ordering::Relaxed);
        Ok(())
    }

    async fn keep_dead(&self, _partition: Partition, _original: Payload, _reason: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn flush(&self, _within: Duration) -> bool {
        true
    }
}

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let file = fs::canonicalize(arguments.next().unwrap()).unwrap();
    let parser = arguments.next().unwrap_or_else(|| "auto".to_owned());
    let parser = Parser::NAMES.iter().find(|(name, _)| *name == parser).unwrap().1.clone();
    let redact = match arguments.next().as_deref() {
        Some("redact") => all_kinds(),
        None => Policy::nothing(),
        Some(other) => panic!("{other}?"),
    };
    let size = fs::metadata(&file).unwrap().len();
    let state = tempfile::tempdir().unwrap();
    let (sender, reports) = mpsc::channel(1000);
    let (bytes, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let producer = Sink { reports: sender, bytes: Arc::clone(&bytes), end: Arc::clone(&end) };
    let mut registry = Registry::default();
    let components = Components {
        producer,
        reports,
        clock: Arc::new(SystemClock),
        metrics: Metrics::register(&mut registry),
        status: Status::new(),
        heartbeats: None,
        ingest: millrace_agent::Ingest::default(),
    };
    let source = FileSettings {
        include: vec![if file.is_dir() {
            format!("{}/*.log", file.display())
        } else {
            file.display().to_string()
        }],
        parse: [parser.clone()].into_iter().collect(),
        ..FileSettings::default()
    };
    let settings = Settings {
        state_dir: state.path().to_owned(),
        redact,
        sources: vec![SourceSettings {
            name: "bench".to_owned(),
            stream: StreamName::default(),
            process: Process::default(),
            kind: SourceKind::File(Box::new(source)),
        }],
        ..Settings::default()
    };
    let stop = CancellationToken::new();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let task = tokio::spawn(run(settings, components, stop.clone()));
    if file.is_dir() {
        return idle().await;
    }
    while end.load(Ordering::Relaxed) < size {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    task.await.unwrap().unwrap();
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let megabytes = size as f64 / 1e6;
    println!(
        "{parser:?}: {megabytes:.0} MB in {wall:.2} s and {cpu:.2} CPU-s: {:.0} MB/CPU-s; payloads {:.0} MB; peak RSS {} kB",
        megabytes / cpu,
        bytes.load(Ordering::Relaxed) as f64 / 1e6,
        peak_memory(),
    );
}

fn all_kinds() -> Policy {
    let rule = |(name, kind): (&str, Kind)| Rule {
        name: name.to_owned(),
        search: Search::Kind(kind),
        action: Action::Mask,
    };
    Policy::new(Kind::NAMES.into_iter().map(rule).collect(), &[]).unwrap()
}

/// What an agent costs in 30 seconds in which nothing happens, 10 seconds after its start.
async fn idle() {
    tokio::time::sleep(Duration::from_secs(10)).await;
    let cpu = cpu_seconds();
    tokio::time::sleep(Duration::from_secs(30)).await;
    println!("idle: {:.2} % of a core; peak RSS {} kB", (cpu_seconds() - cpu) / 0.3, peak_memory());
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn peak_memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}
