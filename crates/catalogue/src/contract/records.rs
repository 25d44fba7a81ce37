//! Sources, alerts, the outbox, documents, nodes.

use super::{Bed, GROUP, TOPIC, alert, cut, notification, own, step};
use crate::{AlertState, Delivery, Error, NODE_TTL, Node};
use millrace_model::{Clock, Partition, SourceId, TimeRange, wire::SourceClose};
use std::time::Duration;

pub(crate) async fn sources_come_back_as_they_were(bed: &Bed) {
    let owned = own(&bed.first, 0, "a").await;
    let mut published = cut(step(&owned, 10));
    let mut closed = super::source(owned.partition, None, 50);
    closed.state.close = Some(SourceClose { end: 50, reason: "deleted".to_owned(), lost_at_least: Some(3) });
    closed.state.open = None;
    published.sources.push(closed);
    // More than one statement's worth.
    published.sources.extend((0..1_200).map(|_| super::source(owned.partition, None, 10)));
    bed.first.publish(&published).await.unwrap();

    let mut ids: Vec<SourceId> = published.sources.iter().map(|source| source.id).collect();
    ids.push(SourceId::random());
    let mut some = bed.second.sources(GROUP, &ids).await.unwrap();
    some.sort_by_key(|source| source.id);
    let all = bed.second.all_sources(GROUP).await.unwrap();
    assert_eq!(some, all);
    assert_eq!(all.len(), 1_202);
    let (mut gone_through, mut last) = (Vec::new(), None);
    loop {
        let some = bed.second.sources_after(GROUP, last, 500).await.unwrap();
        assert!(some.len() <= 500);
        let Some(one) = some.last() else { break };
        last = Some(one.id);
        gone_through.extend(some);
    }
    assert_eq!(gone_through, all);
    assert!(bed.second.sources(GROUP, &[]).await.unwrap().is_empty());
    assert!(bed.second.all_sources("detect").await.unwrap().is_empty());
    let labels = bed.second.source_labels(GROUP).await.unwrap();
    for write in &published.sources {
        let stored = all.iter().find(|source| source.id == write.id).unwrap();
        assert_eq!((&stored.state, stored.version), (&write.state, 1));
        assert_eq!((stored.topic.as_str(), stored.partition), (TOPIC, Partition(0)));
        let label = labels.iter().find(|label| label.id == write.id).unwrap();
        assert_eq!(label.closed, write.state.close.is_some());
        assert_eq!(label.path.as_deref(), write.state.open.as_ref().map(|open| open.path.as_str()));
    }
}

pub(crate) async fn alerts_and_their_outbox_are_idempotent(bed: &Bed) {
    let now = bed.clock.now();
    let owned = own(&bed.first, 0, "a").await;
    let mut first = cut(step(&owned, 10));
    first.alerts = vec![alert("brute", AlertState::Firing)];
    first.notifications = vec![notification("brute/ops/firing", "brute", now)];
    bed.first.publish(&first).await.unwrap();
    bed.first.notified("brute/ops/firing", &Delivery::Delivered).await.unwrap();

    // The same finding again, and the same transition: the alert is replaced, nothing is sent twice.
    let mut grown = alert("brute", AlertState::Firing);
    grown.count = 41;
    let mut second = cut(crate::Move { from: Some(10), ..step(&owned, 20) });
    second.alerts = vec![grown.clone(), alert("oom", AlertState::Resolved)];
    second.notifications = first.notifications.clone();
    bed.first.publish(&second).await.unwrap();
    bed.second.upsert_alerts(&second.alerts).await.unwrap();
    assert!(bed.second.due_notifications("ops", 10).await.unwrap().is_empty());
    assert_eq!(bed.second.alerts(None, 10).await.unwrap().len(), 2);
    assert_eq!(bed.second.alerts(None, 1).await.unwrap().len(), 1);
    assert_eq!(bed.second.alerts(Some(AlertState::Firing), 10).await.unwrap(), [grown.clone()]);
    assert_eq!(bed.second.alerts(Some(AlertState::Pending), 10).await.unwrap(), []);
    assert_eq!(bed.second.alerts_of(&grown.rule_id, AlertState::Firing).await.unwrap(), [grown.clone()]);
    assert_eq!(bed.second.alerts_of("another", AlertState::Firing).await.unwrap(), []);
    assert_eq!(bed.second.alert("brute").await.unwrap(), Some(grown));
    assert_eq!(bed.second.alert("nothing").await.unwrap(), None);
}

pub(crate) async fn a_notification_is_claimed_once_and_comes_back_when_due(bed: &Bed) {
    let now = bed.clock.now();
    let owned = own(&bed.first, 0, "a").await;
    let mut published = cut(step(&owned, 10));
    published.alerts = vec![alert("brute", AlertState::Firing)];
    let older = notification("z", "brute", now.minus(Duration::from_secs(5)));
    published.notifications = vec![notification("a", "brute", now), older];
    bed.first.publish(&published).await.unwrap();
    let due = async || {
        let due = bed.second.due_notifications("ops", 10).await.unwrap();
        due.into_iter().map(|due| (due.notification.id, due.attempts)).collect::<Vec<_>>()
    };
    assert_eq!(due().await, [("z".to_owned(), 0), ("a".to_owned(), 0)], "oldest first");
    assert_eq!(bed.second.due_notifications("ops", 1).await.unwrap().len(), 1);

    let minute = now.plus(Duration::from_mins(1));
    assert!(bed.first.claim_notification("z", minute).await.unwrap());
    assert!(!bed.second.claim_notification("z", minute).await.unwrap(), "another has it");
    assert_eq!(due().await, [("a".to_owned(), 0)]);
    let failed = Delivery::Failed { retry_at: minute, problem: "connection refused".to_owned() };
    bed.first.notified("z", &failed).await.unwrap();
    assert_eq!(due().await, [("a".to_owned(), 0)]);
    bed.clock.set(minute);
    assert_eq!(due().await, [("z".to_owned(), 1), ("a".to_owned(), 0)]);
    bed.first.notified("z", &Delivery::Delivered).await.unwrap();
    bed.first.notified("a", &Delivery::Abandoned { problem: "404".to_owned() }).await.unwrap();
    // A late word of an attempt that had been given up for lost wakes nothing.
    bed.first.notified("z", &failed).await.unwrap();
    bed.clock.advance(Duration::from_hours(1));
    assert_eq!(due().await, []);
    assert!(!bed.first.claim_notification("a", bed.clock.now()).await.unwrap());
}

pub(crate) async fn documents_are_compared_and_set(bed: &Bed) {
    assert_eq!(bed.first.document("silence", "s1").await.unwrap(), None);
    assert_eq!(bed.first.put_document("silence", "s1", None, "one").await.unwrap(), 1);
    assert_eq!(bed.second.put_document("silence", "s1", Some(1), "two").await.unwrap(), 2);
    for expected in [None, Some(1), Some(3)] {
        let refused = bed.first.put_document("silence", "s1", expected, "three").await.unwrap_err();
        assert!(matches!(refused, Error::Conflict { found: Some(2), .. }), "{refused:?}");
    }
    let refused = bed.first.put_document("silence", "s2", Some(1), "none").await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { expected: Some(1), found: None, .. }), "{refused:?}");
    assert_eq!(bed.first.document("silence", "s1").await.unwrap(), Some((2, "two".to_owned())));
    assert_eq!(bed.first.documents("silence").await.unwrap().len(), 1);
    assert!(bed.first.documents("query").await.unwrap().is_empty());
    let refused = bed.first.delete_document("silence", "s1", 1).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { found: Some(2), .. }), "{refused:?}");
    bed.first.delete_document("silence", "s1", 2).await.unwrap();
    assert_eq!(bed.second.document("silence", "s1").await.unwrap(), None);
}

pub(crate) async fn nodes_live_as_long_as_their_heartbeat(bed: &Bed) {
    let node = |id: &str| Node {
        id: id.to_owned(),
        role: "indexer".to_owned(),
        address: Some("127.0.0.1:7701".to_owned()),
        version: "0.1.0".to_owned(),
        seen: bed.clock.now(),
    };
    bed.first.heartbeat(&node("a")).await.unwrap();
    bed.clock.advance(NODE_TTL);
    let b = Node { address: None, ..node("b") };
    bed.second.heartbeat(&b).await.unwrap();
    let live = bed.first.snapshot(GROUP, TimeRange::ALL, None).await.unwrap().nodes;
    assert_eq!(live.len(), 2);
    bed.clock.advance(Duration::from_nanos(1));
    let live = bed.first.snapshot(GROUP, TimeRange::ALL, None).await.unwrap().nodes;
    assert_eq!(live, [b]);
    bed.first.heartbeat(&node("a")).await.unwrap();
    assert_eq!(bed.first.nodes(bed.clock.now().minus(NODE_TTL)).await.unwrap().len(), 2);
    for _ in 0..2 {
        bed.second.farewell("a").await.unwrap();
        let live = bed.first.nodes(bed.clock.now().minus(NODE_TTL)).await.unwrap();
        assert_eq!(live.iter().map(|node| node.id.as_str()).collect::<Vec<_>>(), ["b"]);
    }
    bed.first.heartbeat(&node("a")).await.unwrap();
    bed.clock.advance(Duration::from_hours(25));
    bed.first.heartbeat(&node("c")).await.unwrap();
    assert_eq!(
        bed.first.nodes(millrace_model::Timestamp::MIN).await.unwrap(),
        [node("c")],
        "the silent are forgotten"
    );
}

pub(crate) async fn a_lease_is_one_holders_until_it_is_over(bed: &Bed) {
    let minute = Duration::from_mins(1);
    assert!(bed.first.lease("merge/logs", "a", minute).await.unwrap());
    assert!(!bed.second.lease("merge/logs", "b", minute).await.unwrap());
    assert!(bed.second.lease("merge/app", "b", minute).await.unwrap(), "another lease is free");
    bed.clock.advance(Duration::from_secs(59));
    assert!(bed.first.lease("merge/logs", "a", minute).await.unwrap(), "its holder renews it");
    bed.clock.advance(Duration::from_secs(59));
    assert!(!bed.second.lease("merge/logs", "b", minute).await.unwrap());
    bed.second.release("merge/logs", "b").await.unwrap();
    assert!(!bed.second.lease("merge/logs", "b", minute).await.unwrap(), "only its holder gives it back");
    // A holder that died: its lease passes on, and its ghost finds that it is gone.
    bed.clock.advance(Duration::from_secs(1));
    assert!(bed.second.lease("merge/logs", "b", minute).await.unwrap());
    bed.first.release("merge/logs", "a").await.unwrap();
    assert!(!bed.first.lease("merge/logs", "a", minute).await.unwrap());
    bed.second.release("merge/logs", "b").await.unwrap();
    assert!(bed.first.lease("merge/logs", "a", minute).await.unwrap());
    let (a, b) = tokio::join!(bed.first.lease("both", "a", minute), bed.second.lease("both", "b", minute));
    assert_ne!(a.unwrap(), b.unwrap(), "one of two");
}
