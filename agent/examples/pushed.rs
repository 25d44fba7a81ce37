//! Measures an agent that syslog is pushed to over TCP, from the socket through the spool to the topic's door: records a CPU-second,
//! and memory. The topic takes everything at once; the sender is a process of its own, whose time does not count.
//!
//! `cargo run --release -p millrace-agent --example pushed [RECORDS [CONNECTIONS]]`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use millrace_agent::{
    Components, Endpoint, Metrics, Protocol, Settings, SourceKind, SourceSettings, Status, SyslogSettings,
    run,
};
use millrace_model::{Partition, StreamName, SystemClock, wire::Payload};
use millrace_transport::{DeliveryReport, Error, Producer};
use prometheus_client::registry::Registry;
use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Sink {
    reports: mpsc::Sender<DeliveryReport>,
    end: Arc<AtomicU64>,
}

impl Producer for Sink {
    async fn partitions(&self) -> Result<u32, Error> {
        Ok(12)
    }

    async fn send(&self, partition: Partition, payload: Payload, ticket: u64) -> Result<(), Error> {
        let range = payload.headers.iter().find(|(name, _)| name == "millrace.range").unwrap();
        let end = std::str::from_utf8(&range.1).unwrap().split_once('-').unwrap().1.parse().unwrap();
        let report = DeliveryReport { ticket, outcome: Ok((partition, 0)) };
        self.reports.send(report).await.map_err(|_| Error::Closed)?;
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

fn message(number: u64) -> String {
    format!(
        "<13>1 2026-10-11T22:14:15.{:06}Z web{} shop {} ORDER - order {number} of customer {} took {} ms",
        number % 1_000_000,
        number % 7,
        number % 9_000,
        number * 31 % 5_000,
        number % 977
    )
}

/// The sender: so many messages over so many connections.
fn send(address: SocketAddr, records: u64, connections: u64) {
    let senders: Vec<_> = (0..connections)
        .map(|nth| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                let mut bytes = Vec::new();
                for number in (nth..records).step_by(connections as usize) {
                    let message = message(number);
                    bytes.extend_from_slice(format!("{} {message}", message.len()).as_bytes());
                    if bytes.len() > 60_000 {
                        stream.write_all(&bytes).unwrap();
                        bytes.clear();
                    }
                }
                stream.write_all(&bytes).unwrap();
            })
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default| arguments.get(at).map_or(default, |text| text.parse::<u64>().unwrap());
    if arguments.first().is_some_and(|first| first == "send") {
        return send(arguments[1].parse().unwrap(), number(2, 0), number(3, 1));
    }
    let (records, connections) = (number(0, 1_000_000), number(1, 4));
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = vec![Endpoint { protocol: Protocol::Tcp, address }];
    let source = SourceSettings {
        name: "bench".to_owned(),
        stream: StreamName::default(),
        process: millrace_intake::Process::default(),
        kind: SourceKind::Syslog(Box::new(SyslogSettings { listen, ..SyslogSettings::default() })),
    };
    let state = tempfile::tempdir_in(".").unwrap();
    let settings =
        Settings { state_dir: state.path().to_owned(), sources: vec![source], ..Settings::default() };
    let (sender, reports) = mpsc::channel(1000);
    let end = Arc::new(AtomicU64::new(0));
    let components = Components {
        producer: Sink { reports: sender, end: Arc::clone(&end) },
        reports,
        clock: Arc::new(SystemClock),
        metrics: Metrics::register(&mut Registry::default()),
        status: Status::new(),
        heartbeats: None,
        ingest: millrace_agent::Ingest::default(),
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(settings, components, stop.clone()));
    while TcpStream::connect(address).is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let arguments = ["send".to_owned(), address.to_string(), records.to_string(), connections.to_string()];
    let mut child = Command::new(std::env::current_exe().unwrap()).args(arguments).spawn().unwrap();
    while end.load(Ordering::Relaxed) < records {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    assert!(child.wait().unwrap().success());
    stop.cancel();
    task.await.unwrap().unwrap();
    println!(
        "{records} records of {} B over {connections} connections in {wall:.2} s and {cpu:.2} CPU-s: {:.0} records/CPU-s; peak RSS {} kB",
        message(records / 2).len(),
        records as f64 / cpu,
        peak_memory(),
    );
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
