//! Measures the store on a file of log lines: appending, sealing, size, and queries over both kinds of rows.
//!
//! `MILLRACE_CORPUS=lines.log cargo run --release -p millrace-store --example measure`
//!
//! Rates are per CPU-second of the one thread that works. Times of queries are the median of 11 runs, warm.
#![expect(clippy::print_stdout, reason = "a program that reports")]

use millrace_model::{
    Attributes, LogRecord, OffsetRange, Partition, RecordId, Row, Severity, ShardId, SourceId, StreamName,
    TimeRange, Timestamp, Value,
};
use millrace_store::{
    HotRow, HotRows, HotShard, LeafRequest, Order, SealInput, SealedShard, seal, search_rows,
};
use std::{collections::HashMap, error::Error, fs, sync::Arc, time::Instant};

const QUERIES: &[&str] = &[
    "*",
    "error",
    "trace",
    "block served",
    "\"Served block\"",
    "-block",
    "level:>=error",
    "host:web-011",
    "service:hdfs AND -level:info",
    "pid:>=5000",
    "blk_30*",
    "/session opened for user \\w+/",
    "service:/^op.*/",
];

fn main() -> Result<(), Box<dyn Error>> {
    let Ok(path) = std::env::var("MILLRACE_CORPUS") else {
        println!("MILLRACE_CORPUS names no file: nothing measured");
        return Ok(());
    };
    let text = fs::read_to_string(path)?;
    let (rows, raw) = rows(&text);
    println!("{} lines, {raw} bytes", rows.len());

    let shard = HotShard::new();
    let batches: Vec<Vec<HotRow>> = rows.chunks(500).map(<[HotRow]>::to_vec).collect();
    let spent = cpu()?;
    for batch in batches {
        shard.append(batch);
    }
    rate("append", rows.len(), cpu()? - spent);
    println!("hot: {} bytes in memory a row", shard.weight() / rows.len());

    let folder = tempfile::tempdir()?;
    let hot = shard.snapshot();
    let offsets = vec![OffsetRange {
        topic: "t".to_owned(),
        topic_id: None,
        partition: Partition(0),
        from: 0,
        to: rows.len() as i64,
    }];
    let input = SealInput {
        id: ShardId(1),
        stream: StreamName::default(),
        rows: vec![hot.clone()],
        offsets,
        created: Timestamp(0),
    };
    let spent = cpu()?;
    let sealed = seal(&input, folder.path())?;
    rate("seal", rows.len(), cpu()? - spent);
    println!("sealed: {} bytes, {:.3} of raw", sealed.meta.bytes, sealed.meta.bytes as f64 / raw as f64);
    let started = Instant::now();
    let opened = SealedShard::open(&sealed.path)?;
    println!("open: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    queries(&opened, &hot)
}

fn queries(sealed: &SealedShard, hot: &HotRows) -> Result<(), Box<dyn Error>> {
    println!(
        "{:40} {:>8} {:>12} {:>12} {:>12} {:>12}",
        "query", "total", "count ms", "top 100 ms", "hist ms", "hot ms"
    );
    for query in QUERIES {
        let request = |limit, histogram| -> Result<LeafRequest, Box<dyn Error>> {
            Ok(LeafRequest {
                filter: millrace_filter::parse(query).map_err(|e| e.to_string())?,
                range: TimeRange::ALL,
                limit,
                order: Order::NewestFirst,
                after: None,
                histogram,
            })
        };
        let (count, top, buckets) =
            (request(0, None)?, request(100, None)?, request(0, Some(60_000_000_000))?);
        let total = sealed.search(&count)?.total;
        println!(
            "{query:40} {total:>8} {:>12.3} {:>12.3} {:>12.3} {:>12.3}",
            median(|| sealed.search(&count).map(drop))?,
            median(|| sealed.search(&top).map(drop))?,
            median(|| sealed.search(&buckets).map(drop))?,
            median::<millrace_store::Error>(|| {
                search_rows(hot.near(top.range), &top);
                Ok(())
            })?,
        );
    }
    Ok(())
}

fn median<E: Error + 'static>(mut run: impl FnMut() -> Result<(), E>) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..11 {
        let started = Instant::now();
        run()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[5])
}

/// `2026-01-15T00:00:00.605+00:00 web-011 Android[5627]: DEBUG …`, as the agent would have parsed it.
fn rows(text: &str) -> (Vec<HotRow>, usize) {
    let mut resources: HashMap<&str, (SourceId, u64, Arc<Attributes>)> = HashMap::new();
    let rows = text.lines().enumerate().map(|(number, line)| {
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (time, host, tag, level) = (word(), word(), word(), word());
        let time = time.parse().unwrap_or_default();
        let known = resources.len() as u128;
        let (source, position, resource) = resources.entry(host).or_insert_with(|| {
            let mut resource = Attributes::new();
            resource.set("host.name", host);
            resource.set("log.file.path", format!("/var/log/{host}/syslog"));
            (SourceId(known << 100 | 0x77), 0, Arc::new(resource))
        });
        let mut attributes = Attributes::new();
        if let Some((service, pid)) = tag.trim_end_matches("]:").split_once('[') {
            attributes.set("service.name", service);
            attributes.set("process.pid", pid.parse().map_or(Value::Null, Value::Int));
        }
        let record = LogRecord {
            timestamp: Some(time),
            observed_timestamp: time,
            severity: Severity::from_name(level).unwrap_or_default(),
            severity_text: level.to_owned(),
            body: Value::from(line),
            resource: Arc::clone(resource),
            attributes,
            trace_id: None,
            span_id: None,
        };
        let id = RecordId { source: *source, position: *position, index: 0 };
        *position += line.len() as u64 + 1;
        let row = Row { id, stream: StreamName::default(), time, record };
        HotRow { partition: Partition(0), offset: number as i64, row }
    });
    (rows.collect(), text.len())
}

fn rate(what: &str, lines: usize, seconds: f64) {
    println!("{what}: {:.0} lines per CPU-second", lines as f64 / seconds);
}

/// Seconds that this thread has run.
fn cpu() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: f64 = stat.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanos / 1e9)
}
