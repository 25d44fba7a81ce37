//! What happens to the topic: away, slow, full, picky, smaller than it was.

use crate::support::{Host, attribute, until};
use millrace_model::Value;
use std::fs;

#[tokio::test]
async fn an_agent_waits_for_its_topic_and_says_so() {
    let mut host = Host::new();
    host.topic.set_partitions(None);
    host.append("a.log", "one\n");
    host.start();
    let status = host.status.clone();
    until("the agent says what it waits for", || {
        status.readiness().is_err_and(|reason| reason.contains("nobody answers"))
    })
    .await;
    // What is deleted meanwhile is not lost: its handle is held.
    until("the line is read", || host.metric("in_flight_records") == 1).await;
    fs::remove_file(host.path("a.log")).unwrap();
    host.topic.set_partitions(Some(3));
    let shipped = host.shipped_bodies(&["one"]).await;
    until("the agent is ready", || status.readiness().is_ok()).await;
    let partition = shipped.only().partitions[0];
    assert!((0..3).contains(&partition.0));
    host.stop().await;
}

#[tokio::test]
async fn a_topic_that_does_not_acknowledge_stops_the_reading() {
    let mut host = Host::new();
    host.settings.in_flight = 2 << 20;
    let line = format!("{}\n", "x".repeat(999));
    host.append("a.log", line.repeat(20_000));
    host.topic.hold();
    host.start();
    let topic = host.topic.clone();
    until("the budget is used up", || topic.held() > (1 << 20) - (400 << 10)).await;
    assert!(topic.held() <= 2 << 20, "{}", topic.held());
    host.check_conservation();
    host.stop().await;
    host.topic.forget_held();

    host.start();
    let shipped = host.shipped("all is shipped", |shipped| shipped.bodies().len() >= 20_000).await;
    assert_eq!(shipped.only().end(), 20_000_000);
    until("nothing is in flight", || host.metric("in_flight_bytes") == 0).await;
    host.check_conservation();
    host.stop().await;
}

#[tokio::test]
async fn what_is_too_large_is_cut_to_fit_and_marked() {
    let mut host = Host::new();
    host.topic.set_largest(5_000);
    let lines: Vec<String> = (0..500).map(|n| format!("{n} {}", "y".repeat(n % 100))).collect();
    let long = format!("long {}", "z".repeat(30_000));
    host.append("a.log", format!("{}\n{long}\nlast\n", lines.join("\n")));
    host.start();
    let shipped = host.shipped("all is shipped", |shipped| shipped.bodies().len() >= 502).await;
    let source = shipped.only();
    let bytes = fs::read(host.path("a.log")).unwrap();
    assert_eq!(source.end(), bytes.len() as u64);
    source.check_sums(&bytes);
    let bodies = source.bodies();
    assert_eq!(bodies[..500], lines);
    assert!(long.starts_with(&bodies[500]) && bodies[500].len() > 2_000);
    let (_, cut) = source.runs.values().nth(500).unwrap();
    let cut = cut.as_ref().unwrap();
    assert_eq!(attribute(cut, "log.truncated"), Some(&Value::Bool(true)));
    assert_eq!(attribute(cut, "log.original_length"), Some(&Value::Int(30_005)));
    until("nothing is in flight", || host.metric("in_flight_bytes") == 0).await;
    host.check_conservation();
    host.stop().await;

    let before = host.topic.messages();
    host.start();
    host.append("a.log", "more\n");
    host.shipped("one more is shipped", |shipped| shipped.bodies().len() == 503).await;
    assert_eq!(host.topic.messages(), before + 1, "the position had moved over all of it");
    host.stop().await;
}

#[tokio::test]
async fn a_refused_message_waits_until_it_is_taken() {
    let mut host = Host::new();
    host.topic.refuse(true);
    host.topic.keep_dead_letters(false);
    host.append("a.log", "one\n");
    host.start();
    let status = host.status.clone();
    until("the refusal is told", || status.readiness().is_err_and(|reason| reason.contains("not you"))).await;
    host.topic.refuse(false);
    host.shipped_bodies(&["one"]).await;
    until("the agent is ready", || status.readiness().is_ok()).await;
    host.stop().await;
}

#[tokio::test]
async fn when_partitions_are_gone_sources_go_on_as_new_ones() {
    let mut host = Host::new();
    // Of so many partitions this agent's is hardly ever the first.
    host.topic.set_partitions(Some(1 << 20));
    host.append("a.log", "one\n");
    host.start();
    host.shipped_bodies(&["one"]).await;
    host.topic.set_partitions(Some(1));
    host.append("a.log", "two\n");
    let shipped = host.shipped_bodies(&["one", "two"]).await;
    let new = shipped.find(|open| open.because.as_deref() == Some("partition"));
    assert_eq!((new.start(), new.end(), new.partitions[0].0), (4, 8, 0));
    new.check_sums(b"one\ntwo\n");
    host.append("a.log", "three\n");
    let shipped = host.shipped_bodies(&["one", "two", "three"]).await;
    assert_eq!(shipped.sources.len(), 2);
    host.stop().await;

    // And while the agent is down.
    host.topic.set_partitions(Some(1 << 20));
    host.append("b.log", "b\n");
    host.start();
    host.shipped_bodies(&["one", "two", "three", "b"]).await;
    host.stop().await;
    host.topic.set_partitions(Some(1));
    host.append("b.log", "c\n");
    host.start();
    let shipped = host.shipped_bodies(&["one", "two", "three", "b", "c"]).await;
    assert_eq!(shipped.sources.len(), 4);
    host.stop().await;
}
