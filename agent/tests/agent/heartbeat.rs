//! The agent says how it is, in a topic of its own; its end included.

use crate::support::{Host, until};
use millrace_agent::Heartbeats;
use millrace_model::{Partition, SystemClock, wire::Heartbeat};
use millrace_transport::{EmbeddedSettings, Metrics, Topic, TopicSettings};
use std::{sync::Arc, time::Duration};

async fn heard(topic: &Topic) -> Vec<Heartbeat> {
    let agents = topic.agents().await.unwrap();
    let page = agents.page(Partition(0), 0, 1000).await.unwrap();
    page.messages.iter().filter_map(|message| Heartbeat::decode(&message.headers, &message.value)).collect()
}

#[tokio::test]
async fn it_says_what_it_has_read_and_what_stands_in_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings::new(folder.path().to_owned(), "logs");
    let settings = TopicSettings::Embedded(settings);
    let topic = Topic::open(&settings, Arc::new(SystemClock), &Metrics::default()).await.unwrap();
    let mut host = Host::new();
    host.settings.heartbeat = Duration::from_secs(1);
    host.settings.host = "web1".to_owned();
    host.heartbeats = Some(Heartbeats { topic: topic.clone(), version: "1.2.3", config: "abc".to_owned() });
    host.append("a.log", "one\ntwo\n");
    host.start();
    host.shipped_bodies(&["one", "two"]).await;
    let mut last = None;
    while last.as_ref().is_none_or(|beat: &Heartbeat| beat.shipped_records < 2) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        last = heard(&topic).await.pop();
    }
    let beat = last.unwrap();
    assert_eq!((beat.host.as_str(), beat.millrace.as_str(), beat.config.as_str()), ("web1", "1.2.3", "abc"));
    assert_eq!(
        (beat.sources, beat.interval_seconds, beat.stopping),
        ([("file".to_owned(), 1)].into(), 1, false)
    );
    assert!(beat.problem.is_none() && beat.started <= beat.sent);

    // What the topic does not take is told through the other one.
    host.topic.refuse(true);
    host.topic.keep_dead_letters(false);
    host.append("a.log", "three\n");
    let told = |beats: &[Heartbeat]| {
        beats.iter().any(|beat| beat.problem.as_deref().is_some_and(|p| p.contains("not you")))
    };
    while !told(&heard(&topic).await) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    host.topic.refuse(false);
    host.shipped_bodies(&["one", "three", "two"]).await;
    host.stop().await;
    let beats = heard(&topic).await;
    assert!(beats.last().unwrap().stopping, "{beats:?}");
    assert_eq!(beats.iter().filter(|beat| beat.stopping).count(), 1);
}

#[tokio::test]
async fn nothing_is_said_where_that_is_not_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings::new(folder.path().to_owned(), "logs");
    let settings = TopicSettings::Embedded(settings);
    let topic = Topic::open(&settings, Arc::new(SystemClock), &Metrics::default()).await.unwrap();
    let mut host = Host::new();
    host.settings.heartbeat = Duration::ZERO;
    host.heartbeats = Some(Heartbeats { topic: topic.clone(), version: "1", config: String::new() });
    host.append("a.log", "one\n");
    host.start();
    host.shipped_bodies(&["one"]).await;
    let status = host.status.clone();
    until("it is ready", || status.readiness().is_ok()).await;
    host.stop().await;
    assert_eq!(heard(&topic).await, []);
}
