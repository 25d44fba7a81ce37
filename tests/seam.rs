//! The seam, in one process: while records stream in, are sealed, published and handed from one indexer to another,
//! every search that calls itself whole finds at least what the one before it found and all that was acknowledged a
//! second ago, and nothing twice.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use millrace_catalogue::Catalogue;
use millrace_cores::Cores;
use millrace_indexer::{HotLeaf, Indexer, Metrics, Parts, Settings};
use millrace_model::{
    AgentId, BootId, Clock, Grant, InstanceId, LogRecord, Partition, Sight, SourceId, StreamName,
    SystemClock, TimeRange, Value,
    wire::{self, Envelope, Extent, Run, RunKind, Sender, SourceOpen},
};
use millrace_pipes::{Context, Plan};
use millrace_query::{HttpLeaves, Leaves, SearchRequest, Searcher, shards::OpenShards};
use millrace_storage::Bundles;
use millrace_store::{HotRequest, HotResponse, Leaf, LeafError, Order};
use millrace_transport::{EmbeddedSettings, Producer, Topic, TopicSettings};
use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SOURCES: u64 = 4;
const RECORDS_A_MESSAGE: u64 = 50;
/// What was acknowledged so long ago is found by every answer that is whole.
const SETTLED: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_mins(2);

/// Two indexers of one process, asked together.
#[derive(Clone)]
struct Both(Vec<HotLeaf>);

impl Leaf for Both {
    async fn search(&self, request: &HotRequest) -> Result<HotResponse, LeafError> {
        let mut parts = Vec::new();
        for leaf in &self.0 {
            parts.extend(leaf.search(request).await?.parts);
        }
        Ok(HotResponse { parts })
    }
}

struct World {
    clock: Arc<dyn Clock>,
    topic: Topic,
    catalogue: Catalogue,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut registry = prometheus_client::registry::Registry::default();
        let metrics = millrace_transport::Metrics::new(&mut registry);
        let settings = TopicSettings::Embedded(EmbeddedSettings::new(folder.path().join("topic"), "t"));
        let topic = Topic::open(&settings, Arc::clone(&clock), &metrics).await.unwrap();
        let url = format!("sqlite://{}/catalogue.db", folder.path().display());
        let catalogue = Catalogue::open(&url, Arc::clone(&clock)).await.unwrap();
        Self { clock, topic, catalogue, folder }
    }

    fn bundles(&self) -> Bundles {
        let url = format!("file://{}/shards", self.folder.path().display());
        Bundles::open(&millrace_storage::Settings::new(url, "")).unwrap()
    }

    fn indexer(&self, name: &str) -> Indexer {
        let settings = Settings {
            seal_age: Duration::from_millis(150),
            // Short, but longer than a search: rows go while searches run.
            linger: Duration::from_secs(5),
            ..Settings::default()
        };
        let parts = Parts {
            topic: self.topic.clone(),
            catalogue: self.catalogue.clone(),
            bundles: self.bundles(),
            work_directory: self.folder.path().join("work").join(Path::new(name)),
            clock: Arc::clone(&self.clock),
            metrics: Metrics::default(),
            node: name.to_owned(),
            address: None,
        };
        Indexer::new(settings, parts)
    }

    /// With so many bytes of room for what shards have answered.
    fn searcher(&self, leaves: Vec<HotLeaf>, kept: usize) -> (Searcher<Both>, millrace_query::Metrics) {
        let leaves = {
            let remote = HttpLeaves::new(None, Arc::clone(&self.clock)).unwrap();
            let local = Some(("both".to_owned(), Both(leaves)));
            Leaves::new(local, remote, millrace_query::Metrics::default())
        };
        let shards = OpenShards::new(self.bundles());
        let metrics = millrace_query::Metrics::default();
        let searcher = Searcher::new(
            self.catalogue.clone(),
            shards,
            leaves,
            Cores::default(),
            Arc::clone(&self.clock),
            metrics.clone(),
        );
        (searcher.keeping(kept), metrics)
    }
}

/// The nth message of a source: records with their number as body.
fn message(source: u64, nth: u64, clock: &dyn Clock) -> wire::Payload {
    let first = nth * RECORDS_A_MESSAGE;
    let records: Vec<LogRecord> = (first..first + RECORDS_A_MESSAGE)
        .map(|n| LogRecord {
            body: Value::from(format!("source {source} number {n}")),
            observed_timestamp: clock.now(),
            ..LogRecord::default()
        })
        .collect();
    let open = SourceOpen {
        kind: "test".into(),
        path: source.to_string(),
        host: "h".into(),
        start: 0,
        continues: None,
        because: None,
    };
    let envelope = Envelope {
        stream: StreamName::default(),
        sender: Sender { agent: AgentId(1), instance: InstanceId(1), epoch: 1, boot: BootId(1) },
        source: SourceId(u128::from(source) + 1),
        extent: Extent {
            start: first,
            end: first + RECORDS_A_MESSAGE,
            crc32c: nth as u32,
            runs: vec![Run { length: 1, kind: RunKind::Record }; RECORDS_A_MESSAGE as usize],
        },
        open: (nth == 0).then_some(open),
        close: None,
    };
    wire::encode(&envelope, &records)
}

/// Sends `messages` of every source, each third one twice, and counts what was acknowledged.
async fn produce(topic: Topic, messages: u64, clock: Arc<dyn Clock>, acknowledged: Arc<AtomicU64>) {
    let (reports, mut delivered) = mpsc::channel(64);
    let producer = topic.producer(reports).unwrap();
    let counting = tokio::spawn(async move {
        while let Some(report) = delivered.recv().await {
            report.outcome.unwrap();
            // The ticket of a repetition is 0.
            acknowledged.fetch_add(report.ticket, Ordering::SeqCst);
        }
    });
    for nth in 0..messages {
        for source in 0..SOURCES {
            let payload = message(source, nth, clock.as_ref());
            let partition = Partition(source as i32);
            producer.send(partition, payload.clone(), RECORDS_A_MESSAGE).await.unwrap();
            if nth % 3 == 0 {
                producer.send(partition, payload, 0).await.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    assert!(producer.flush(DEADLINE).await);
    drop(producer);
    counting.await.unwrap();
}

fn everything(limit: usize) -> SearchRequest {
    SearchRequest {
        filter: millrace_filter::parse("number").unwrap(),
        range: TimeRange::ALL,
        streams: None,
        sight: Sight::whole(Grant::All),
        limit,
        order: Order::OldestFirst,
        after: None,
        histogram: None,
        gather: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_are_whole_while_everything_moves() {
    let world = World::new().await;
    let (first, second) = (world.indexer("first"), world.indexer("second"));
    let leaves = vec![first.leaf(Cores::default()), second.leaf(Cores::default())];
    let (searcher, metrics) = world.searcher(leaves.clone(), 64 << 20);
    let (stop_first, stop_second) = (CancellationToken::new(), CancellationToken::new());
    let first = tokio::spawn(first.run(stop_first.clone()));

    let messages = 1000;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let producing = tokio::spawn(produce(
        world.topic.clone(),
        messages,
        Arc::clone(&world.clock),
        Arc::clone(&acknowledged),
    ));

    let total = SOURCES * messages * RECORDS_A_MESSAGE;
    let mut second = Some(second);
    let mut second_task = None;
    let (mut whole, mut partial) = (0, 0);
    let begun = Instant::now();
    let mut history: Vec<(Instant, u64)> = Vec::new();
    let mut found = 0;
    loop {
        let before = acknowledged.load(Ordering::SeqCst);
        let hits = searcher.search(&everything(0)).await.unwrap();
        assert!(hits.total <= total, "{} of {total} records: some were found twice", hits.total);
        let settled =
            history.iter().rev().find(|(at, _)| at.elapsed() > SETTLED).map_or(0, |(_, count)| *count);
        history.push((Instant::now(), before));
        if hits.missing.is_empty() {
            assert!(hits.total >= found, "{found} records were found before, {} now", hits.total);
            assert!(
                hits.total >= settled,
                "{settled} records were acknowledged long ago, {} found",
                hits.total
            );
            found = hits.total;
            whole += 1;
            if hits.total == total && before == total {
                break;
            }
        } else {
            partial += 1;
        }
        assert!(
            begun.elapsed() < DEADLINE,
            "{} of {total} after {DEADLINE:?}: {:?}",
            hits.total,
            hits.missing
        );
        // A second indexer joins and takes partitions over; then the first one leaves.
        if before > total / 4
            && let Some(indexer) = second.take()
        {
            second_task = Some(tokio::spawn(indexer.run(stop_second.clone())));
        }
        if before > total / 2 {
            stop_first.cancel();
        }
    }
    producing.await.unwrap();
    println!("{whole} whole and {partial} partial answers in {:?}", begun.elapsed());
    assert!(whole > 0);

    // Page through everything: each record once.
    let mut seen = HashSet::new();
    let mut request = everything(1000);
    loop {
        let hits = searcher.search(&request).await.unwrap();
        let Some(last) = hits.hits.last() else { break };
        request.after = Some(last.order());
        for row in &hits.hits {
            assert!(seen.insert((row.id, row.record.body.to_string())), "{} came twice", row.id);
        }
    }
    assert_eq!(seen.len() as u64, total);

    stop_first.cancel();
    stop_second.cancel();
    first.await.unwrap().unwrap();
    second_task.unwrap().await.unwrap().unwrap();

    // Everything was published at the end, exactly: offsets, ledger and shards agree.
    let stored = world.catalogue.all_sources(millrace_indexer::GROUP).await.unwrap();
    assert_eq!(stored.len() as u64, SOURCES);
    for source in &stored {
        assert_eq!(source.state.records, messages * RECORDS_A_MESSAGE);
        assert!(millrace_ledger::audit(&source.state).is_complete());
    }
    let snapshot = world.catalogue.snapshot(millrace_indexer::GROUP, TimeRange::ALL, None).await.unwrap();
    assert_eq!(snapshot.shards.iter().map(|shard| shard.records).sum::<u64>(), total);

    // What shards have answered before is what they answer.
    let (forgetful, asked) = world.searcher(leaves, 0);
    for query in
        ["number", "number | stats count(), max(_position) by file", "\"number 7\" | sort body | limit 5"]
    {
        let wanted = answered(&forgetful, query).await;
        for _ in 0..2 {
            assert_eq!(answered(&searcher, query).await, wanted, "{query}");
        }
    }
    assert!(
        metrics.kept_results.get() >= 3 && asked.kept_results.get() == 0,
        "{}",
        metrics.kept_results.get()
    );
}

/// What a query is answered, hits or a table, with its counts by time.
async fn answered(searcher: &Searcher<Both>, query: &str) -> String {
    let query = millrace_pipes::parse(query).unwrap();
    let context = Context { now: searcher.now(), range: TimeRange::ALL, limit: 100, memory: 1 << 20 };
    let plan = (!query.pipes.is_empty()).then(|| Plan::new(&query.pipes, &context).unwrap());
    let request = SearchRequest {
        filter: query.filter,
        histogram: plan.is_none().then_some(Duration::from_secs(1)),
        gather: plan.as_ref().map(Plan::leaf),
        ..everything(100)
    };
    let found = searcher.search(&request).await.unwrap();
    assert!(found.missing.is_empty(), "{:?}", found.missing);
    let table = match plan {
        Some(plan) => Some(searcher.finish(plan, found.gathered).await.unwrap()),
        None => None,
    };
    format!("{} {:?} {:?} {table:?}", found.total, found.hits, found.histogram)
}
