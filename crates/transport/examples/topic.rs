//! How fast a topic takes and gives messages: `topic embedded|kafka [MEGABYTES]`; Kafka is a broker of its own. Messages
//! hold 500 log lines of 150 bytes; everything goes to one partition, as one host's lines do. Prints wall time, CPU time of this
//! process, and (embedded) bytes on disk.
#![expect(clippy::print_stdout, reason = "its purpose")]

use bytes::Bytes;
use millrace_model::{Partition, SystemClock, wire::Payload};
use millrace_transport::{
    Consumer, ConsumerEvent, EmbeddedSettings, KafkaSettings, Metrics, Producer, Start, Topic, TopicSettings,
};
use std::{error::Error, fmt::Write, fs, sync::Arc, time::Instant};
use tokio::sync::mpsc;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let kind = arguments.get(1).map_or("embedded", String::as_str);
    let folder = std::env::temp_dir().join(format!("millrace-throughput-{}", std::process::id()));
    let settings = match kind {
        "kafka" => {
            let brokers = vec![millrace_test_support::kafka::shared().bootstrap.clone()];
            TopicSettings::Kafka(KafkaSettings::new(brokers, "throughput"))
        }
        _ => TopicSettings::Embedded(EmbeddedSettings::new(folder.clone(), "throughput")),
    };
    let megabytes: usize = arguments.get(2).map_or(Ok(300), |text| text.parse())?;
    let topic = Topic::open(&settings, Arc::new(SystemClock), &Metrics::default()).await?;
    let batches: Vec<Payload> = (0..200).map(batch).collect();
    let count = megabytes * 1_000_000 / batches[0].value.len();

    let (start, cpu) = (Instant::now(), cpu_seconds());
    let (sender, mut reports) = mpsc::channel(1000);
    let producer = topic.producer(sender)?;
    let mut taken = tokio::spawn(async move {
        for _ in 0..count {
            if reports.recv().await.is_none_or(|report| report.outcome.is_err()) {
                return false;
            }
        }
        true
    });
    for number in 0..count {
        producer.send(Partition(0), batches[number % batches.len()].clone(), number as u64).await?;
    }
    assert!((&mut taken).await?, "not everything was delivered");
    print("sent", count, megabytes, start, cpu);
    if folder.exists() {
        println!("  on disk: {:.1} %", size(&folder)? as f64 / (megabytes as f64 * 10_000.0));
    }

    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut consumer = topic.consumer("throughput")?;
    let mut read = 0;
    while read < count {
        match consumer.next().await.ok_or("closed")? {
            ConsumerEvent::Messages(messages) => {
                read += messages.iter().filter(|m| !m.value.is_empty()).count();
            }
            ConsumerEvent::Assigned(assignment) => assignment.start(vec![(Partition(0), Start::Earliest)]),
            ConsumerEvent::Revoked(revocation) => revocation.done(),
        }
    }
    print("read", count, megabytes, start, cpu);
    consumer.close().await;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

fn print(what: &str, count: usize, megabytes: usize, start: Instant, cpu: f64) {
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let lines = count as f64 * 500.0;
    println!(
        "{what} {megabytes} MB: {wall:.2} s, {:.0} MB/s; {cpu:.2} CPU-s, {:.0} MB and {:.0} k lines per CPU-s",
        megabytes as f64 / wall,
        megabytes as f64 / cpu,
        lines / cpu / 1000.0
    );
}

/// 500 lines that differ as log lines do.
fn batch(number: u64) -> Payload {
    let mut value = String::new();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for line in 0..500 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (user, port, took) = (state >> 50, (state >> 20) & 0xffff, (state >> 40) & 0xfff);
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            value,
            "2026-11-23T19:{:02}:{:02}.{took:03}Z host-{} sshd[{port}]: session for user u{user} from 10.1.{}.{} port {port} opened after {took} ms, code=0x{:08x}",
            line / 60,
            line % 60,
            number % 7,
            (state >> 8) & 255,
            state & 255,
            state >> 32
        );
    }
    Payload { value: Bytes::from(value), ..Payload::default() }
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks =
        |at: usize| stat.split(' ').nth(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(13) + ticks(14)) / 100.0
}

fn size(folder: &std::path::Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
