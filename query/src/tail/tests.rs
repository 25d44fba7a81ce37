use super::{Cursor, Feed, FeedParts, Seen, Watcher};
use bytes::Bytes;
use millrace_catalogue::Catalogue;
use millrace_filter::Filter;
use millrace_model::{
    AgentId, BootId, Grant, InstanceId, LogRecord, Partition, Sight, SourceId, StreamName, SystemClock,
    Timestamp, Value,
    wire::{self, Envelope, Extent, Payload, Run, RunKind, Sender, SourceOpen},
};
use millrace_transport::{EmbeddedSettings, Metrics, Producer, Topic, TopicSettings};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::sync::mpsc;

struct World {
    parts: FeedParts,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = EmbeddedSettings::new(folder.path().to_owned(), "logs");
        settings.partitions = 2;
        let clock = Arc::new(SystemClock);
        let topic = Topic::open(&TopicSettings::Embedded(settings), clock.clone(), &Metrics::default())
            .await
            .unwrap();
        let url = format!("sqlite://{}", folder.path().join("catalogue.db").display());
        let catalogue = Catalogue::open(&url, clock).await.unwrap();
        Self { parts: FeedParts { topic, catalogue, declared: BTreeMap::new() }, _folder: folder }
    }

    async fn send(&self, partition: i32, payload: Payload) {
        let (reports, mut delivered) = mpsc::channel(1);
        let producer = self.parts.topic.producer(reports).unwrap();
        producer.send(Partition(partition), payload, 0).await.unwrap();
        delivered.recv().await.unwrap().outcome.unwrap();
    }

    async fn say(&self, partition: i32, bodies: &[&str]) {
        self.send(partition, wire::plain(None, &records(bodies))).await;
    }
}

fn records(bodies: &[&str]) -> Vec<LogRecord> {
    let now = Timestamp::from_millis(1_000);
    let record =
        |body: &&str| LogRecord { body: Value::from(*body), observed_timestamp: now, ..LogRecord::default() };
    bodies.iter().map(record).collect()
}

/// A batch of an agent's: each record takes ten bytes of its file.
fn batch(start: u64, bodies: &[&str]) -> Payload {
    let run = Run { length: 10, kind: RunKind::Record };
    let end = start + 10 * bodies.len() as u64;
    let open = SourceOpen {
        kind: "file".to_owned(),
        path: "/a.log".to_owned(),
        host: "a".to_owned(),
        start: 0,
        continues: None,
        because: None,
    };
    let envelope = Envelope {
        stream: StreamName::default(),
        sender: Sender { agent: AgentId(1), instance: InstanceId(1), epoch: 1, boot: BootId(1) },
        source: SourceId(7),
        extent: Extent { start, end, crc32c: start as u32, runs: vec![run; bodies.len()] },
        open: (start == 0).then_some(open),
        close: None,
    };
    wire::encode(&envelope, &records(bodies))
}

async fn watch(feed: &Feed, query: &str, from: Option<Cursor>) -> Watcher {
    feed.watch(millrace_filter::parse(query).unwrap(), None, Sight::whole(Grant::All), from).await.unwrap()
}

async fn next(watcher: &mut Watcher) -> Seen {
    tokio::time::timeout(Duration::from_secs(20), watcher.next()).await.unwrap().unwrap()
}

async fn bodies(watcher: &mut Watcher, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        match next(watcher).await {
            Seen::Record(row, _) => bodies.push(row.record.body.to_string()),
            other @ Seen::PassedOver { .. } => panic!("a record expected, found {other:?}"),
        }
    }
    bodies
}

/// Nothing more is seen until this marker, which everybody is shown who looks for `marker`.
async fn nothing_until(world: &World, watcher: &mut Watcher, marker: &str) {
    world.say(0, &[marker]).await;
    assert_eq!(bodies(watcher, 1).await, [marker]);
}

#[tokio::test]
async fn whoever_watches_is_shown_what_matches_from_then_on() {
    let world = World::new().await;
    world.say(0, &["error before"]).await;
    let feed = Feed::new(world.parts.clone());
    let mut errors = watch(&feed, "error OR marker", None).await;
    let mut all = watch(&feed, "*", None).await;
    world.say(1, &["error one", "fine", "error two"]).await;
    assert_eq!(bodies(&mut errors, 2).await, ["error one", "error two"]);
    assert_eq!(bodies(&mut all, 3).await, ["error one", "fine", "error two"]);
    nothing_until(&world, &mut errors, "marker").await;
    let elsewhere = Some(vec!["other".parse().unwrap()]);
    let mut other = feed.watch(Filter::ALL, elsewhere, Sight::whole(Grant::All), None).await.unwrap();
    let granted = Sight::whole(Grant::Streams(["other".parse().unwrap()].into()));
    let mut granted = feed.watch(Filter::ALL, None, granted, None).await.unwrap();
    world.say(1, &["here"]).await;
    let there: StreamName = "other".parse().unwrap();
    world.send(0, wire::plain(Some(&there), &records(&["there"]))).await;
    assert_eq!(bodies(&mut other, 1).await, ["there"]);
    assert_eq!(bodies(&mut granted, 1).await, ["there"]);
}

#[tokio::test]
async fn what_an_agent_sends_twice_is_shown_once() {
    let world = World::new().await;
    world.send(0, batch(0, &["one", "two"])).await;
    let feed = Feed::new(world.parts.clone());
    let mut watcher = watch(&feed, "*", None).await;
    // What came before anybody watched, what comes now, and a part of each.
    world.send(0, batch(0, &["one", "two"])).await;
    world.send(0, batch(20, &["three", "four"])).await;
    world.send(0, batch(20, &["three", "four"])).await;
    assert_eq!(bodies(&mut watcher, 2).await, ["three", "four"]);
    nothing_until(&world, &mut watcher, "marker").await;
}

#[tokio::test]
async fn whoever_comes_back_goes_on_where_it_was() {
    let world = World::new().await;
    let feed = Feed::new(world.parts.clone());
    let mut watcher = watch(&feed, "*", None).await;
    world.say(0, &["a", "b", "c"]).await;
    world.say(1, &["d"]).await;
    assert_eq!(bodies(&mut watcher, 2).await, ["a", "b"]);
    // Within a message; out of what the feed still holds.
    let cursor = watcher.cursor().clone();
    assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
    drop(watcher);
    world.say(0, &["e"]).await;
    let mut watcher = watch(&feed, "*", Some(cursor.clone())).await;
    let mut found = bodies(&mut watcher, 3).await;
    found.sort();
    assert_eq!(found, ["c", "d", "e"]);
    nothing_until(&world, &mut watcher, "first").await;
    // And out of the topic, where a new feed holds nothing of it.
    let feed = Feed::new(world.parts.clone());
    let mut watcher = watch(&feed, "*", Some(cursor)).await;
    let mut found = bodies(&mut watcher, 4).await;
    found.sort();
    assert_eq!(found, ["c", "d", "e", "first"]);
    nothing_until(&world, &mut watcher, "second").await;
    // A cursor of a topic that was longer than this one.
    let mut ahead = watch(&feed, "*", Some("0.1000_1.0".parse().unwrap())).await;
    let Seen::PassedOver { records: None, messages: None, .. } = next(&mut ahead).await else {
        panic!("a gap expected")
    };
    let mut found = bodies(&mut ahead, 7).await;
    found.sort();
    assert_eq!(found, ["a", "b", "c", "d", "e", "first", "second"]);
}

#[tokio::test]
async fn what_is_sent_again_behind_a_cursor_is_not_shown_again() {
    let world = World::new().await;
    let mut watcher = watch(&Feed::new(world.parts.clone()), "*", None).await;
    world.send(0, batch(0, &["one", "two"])).await;
    assert_eq!(bodies(&mut watcher, 2).await, ["one", "two"]);
    let cursor = watcher.cursor().clone();
    // The agent was killed before it knew that this was taken.
    world.send(0, batch(0, &["one", "two"])).await;
    world.send(0, batch(20, &["three", "four"])).await;
    let mut watcher = watch(&Feed::new(world.parts.clone()), "*", Some(cursor)).await;
    assert_eq!(bodies(&mut watcher, 2).await, ["three", "four"]);
    nothing_until(&world, &mut watcher, "marker").await;
}

#[tokio::test]
async fn who_is_too_slow_is_told_how_much_it_was_not_shown() {
    let world = World::new().await;
    let feed = Feed::holding(world.parts.clone(), 1);
    let mut slow = watch(&feed, "*", None).await;
    let mut quick = watch(&feed, "*", None).await;
    for number in 0..20 {
        let body = format!("line {number}");
        world.say(0, &[&body, "and one more"]).await;
        assert_eq!(bodies(&mut quick, 2).await, [body.as_str(), "and one more"]);
    }
    let Seen::PassedOver { records: Some(passed), .. } = next(&mut slow).await else {
        panic!("a count expected")
    };
    assert_eq!(passed, 38, "all but the last message, which is always held");
    assert_eq!(bodies(&mut slow, 2).await, ["line 19", "and one more"]);
    // What it was not shown is behind its cursor: it knows.
    let cursor = slow.cursor().clone();
    let mut again = watch(&feed, "*", Some(cursor)).await;
    nothing_until(&world, &mut again, "marker").await;
}

#[tokio::test]
async fn what_cannot_be_decoded_is_nobodys_trouble() {
    let world = World::new().await;
    let feed = Feed::new(world.parts.clone());
    let mut watcher = watch(&feed, "*", None).await;
    let broken = Payload { value: Bytes::from_static(b"\xff\xff"), ..Payload::default() };
    world.send(0, broken).await;
    nothing_until(&world, &mut watcher, "marker").await;
}
