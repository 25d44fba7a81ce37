//! Alerts and people: what is decided about them together, verdicts, what history is told.

use super::{Bed, alert, cut, notification, own, step};
use crate::{
    Act, AlertState, Delivery, Dispatch, DocumentWrite, Error, Hushed, KeptAlert, Marks, Notification,
    Triage, Verdict, VerdictKind, VerdictScope,
};
use millrace_model::Clock;
use std::{collections::BTreeMap, time::Duration};

const HOUR: Duration = Duration::from_hours(1);

async fn firing(bed: &Bed, id: &str) -> KeptAlert {
    bed.first.upsert_alerts(&[alert(id, AlertState::Firing)]).await.unwrap();
    bed.second.kept_alert(id).await.unwrap().unwrap()
}

fn act(bed: &Bed) -> Act {
    Act { at: bed.clock.now(), by: "ann".to_owned(), note: String::new() }
}

fn verdict(bed: &Bed, of: &KeptAlert, kind: VerdictKind) -> Verdict {
    Verdict {
        alert_id: of.alert.id.clone(),
        rule_id: of.alert.rule_id.clone(),
        fingerprint: of.alert.fingerprint.clone(),
        group: of.alert.group.clone(),
        verdict: kind,
        reason: "a scanner of \0 ours".to_owned(),
        scope: VerdictScope::Fingerprint,
        expires: Some(bed.clock.now().plus(HOUR)),
        given: bed.clock.now(),
        given_by: "ann".to_owned(),
    }
}

/// For what looks at every table.
pub(crate) async fn fill(bed: &Bed) {
    let brute = bed.first.kept_alert("brute").await.unwrap().unwrap();
    assert!(bed.first.give_verdict(&verdict(bed, &brute, VerdictKind::Benign)).await.unwrap());
}

pub(crate) async fn notifications_about_one_thing_go_in_their_order(bed: &Bed) {
    firing(bed, "brute").await;
    let now = bed.clock.now();
    let numbered = |id: &str, about: &str, sequence| Notification {
        about: about.to_owned(),
        sequence,
        ..notification(id, "brute", now)
    };
    let other = Notification { receiver: "mail".to_owned(), ..numbered("x", "g", 0) };
    let notifications = vec![numbered("c", "g", 1), numbered("b", "g", 2), numbered("a", "h", 2), other];
    bed.first.dispatch(&Dispatch { notifications, ..Dispatch::default() }).await.unwrap();
    let due = async || {
        let due = bed.second.due_notifications("ops", 10).await.unwrap();
        due.into_iter().map(|due| due.notification.id).collect::<Vec<_>>()
    };
    assert_eq!(due().await, ["a", "c"]);
    let retry_at = now.plus(HOUR);
    bed.first.notified("c", &Delivery::Failed { retry_at, problem: "away".to_owned() }).await.unwrap();
    assert_eq!(due().await, ["a"], "what comes after it waits, too");
    bed.clock.set(retry_at);
    bed.first.notified("c", &Delivery::Delivered).await.unwrap();
    assert_eq!(due().await, ["a", "b"]);
    assert_eq!(bed.second.due_notifications("mail", 10).await.unwrap().len(), 1);
    let overdue = bed.second.overdue_notifications(retry_at, 10).await.unwrap();
    assert_eq!(overdue.len(), 3, "whoever they are for");
    assert!(bed.second.overdue_notifications(now, 10).await.unwrap().is_empty());
}

pub(crate) async fn what_was_settled_long_ago_is_forgotten(bed: &Bed) {
    firing(bed, "brute").await;
    let now = bed.clock.now();
    let notifications = vec![notification("a", "brute", now), notification("b", "brute", now)];
    bed.first.dispatch(&Dispatch { notifications, ..Dispatch::default() }).await.unwrap();
    bed.first.notified("a", &Delivery::Delivered).await.unwrap();
    assert_eq!(bed.first.forget_notifications(now).await.unwrap(), 0);
    bed.clock.advance(HOUR);
    assert_eq!(bed.first.forget_notifications(bed.clock.now()).await.unwrap(), 1);
    assert_eq!(bed.second.due_notifications("ops", 10).await.unwrap()[0].notification.id, "b");
}

pub(crate) async fn what_people_do_is_not_written_over(bed: &Bed) {
    let before = firing(bed, "brute").await;
    let seen = Triage { acknowledged: Some(act(bed)), ..Triage::default() };
    assert!(bed.first.triage(&before, &seen).await.unwrap());
    assert!(!bed.second.triage(&before, &Triage::default()).await.unwrap(), "it has changed since");
    let mut grown = alert("brute", AlertState::Firing);
    grown.count = 41;
    bed.first.upsert_alerts(&[grown.clone()]).await.unwrap();
    let now = bed.second.kept_alert("brute").await.unwrap().unwrap();
    assert_eq!((&now.alert, &now.triage), (&grown, &seen));

    // What somebody has closed is over, whatever rules say.
    let closed = Triage { closed: Some(act(bed)), ..seen };
    assert!(bed.second.triage(&now, &closed).await.unwrap());
    bed.first.upsert_alerts(&[grown.clone()]).await.unwrap();
    assert!(bed.first.kept_alerts(Some(AlertState::Firing), 10).await.unwrap().is_empty());
    let over = bed.first.kept_alerts(Some(AlertState::Resolved), 10).await.unwrap();
    assert_eq!((over[0].state(), over[0].ended()), (AlertState::Resolved, Some(bed.clock.now())));
    assert_eq!(bed.first.alerts(Some(AlertState::Firing), 10).await.unwrap(), [grown], "rules go on with it");
    assert_eq!(bed.first.kept_alerts(None, 10).await.unwrap(), over);
    assert_eq!(bed.first.kept_alert("nothing").await.unwrap(), None);
}

pub(crate) async fn what_is_decided_happens_whole_or_not_at_all(bed: &Bed) {
    firing(bed, "brute").await;
    let group = |expected_version| DocumentWrite {
        kind: "group".to_owned(),
        key: "g".to_owned(),
        expected_version,
        body: "{}".to_owned(),
    };
    let marks = Marks {
        hushed: Some(Hushed::Silenced),
        silences: vec!["s1".to_owned()],
        inhibited_by: Some("é".to_owned()),
        suppressed_by: None,
        demoted: None,
    };
    let told = |id: &str, expected_version| Dispatch {
        documents: vec![group(expected_version)],
        notifications: vec![notification(id, "brute", bed.clock.now())],
        marks: vec![("brute".to_owned(), marks.clone())],
        ..Dispatch::default()
    };
    bed.first.dispatch(&told("1", None)).await.unwrap();
    let after = bed.second.kept_alert("brute").await.unwrap().unwrap();
    assert_eq!(after.marks, marks);
    // Somebody else who had read the same.
    for expected in [None, Some(7)] {
        let refused = bed.second.dispatch(&told("2", expected)).await.unwrap_err();
        assert!(matches!(refused, Error::Conflict { .. }), "{refused:?}");
    }
    assert_eq!(bed.first.kept_alert("brute").await.unwrap().unwrap(), after);
    assert_eq!(bed.first.due_notifications("ops", 10).await.unwrap().len(), 1);
    let ended = |version| Dispatch {
        ended: vec![("group".to_owned(), "g".to_owned(), version)],
        settled: vec!["brute".to_owned()],
        ..Dispatch::default()
    };
    let refused = bed.first.dispatch(&ended(2)).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { .. }), "{refused:?}");
    bed.first.dispatch(&ended(1)).await.unwrap();
    assert!(bed.first.documents("group").await.unwrap().is_empty());
}

pub(crate) async fn an_alert_is_open_until_it_is_settled(bed: &Bed) {
    let open = async || {
        let open = bed.second.open_alerts().await.unwrap();
        open.into_iter().map(|kept| kept.alert.id).collect::<Vec<_>>()
    };
    let settle = |id: &str| Dispatch { settled: vec![id.to_owned()], ..Dispatch::default() };
    let owned = own(&bed.first, 0, "a").await;
    let mut published = cut(step(&owned, 10));
    published.alerts = vec![alert("a", AlertState::Firing), alert("b", AlertState::Resolved)];
    bed.first.publish(&published).await.unwrap();
    assert_eq!(open().await, ["a", "b"], "nobody has been told of either");
    bed.first.dispatch(&settle("a")).await.unwrap();
    bed.first.dispatch(&settle("b")).await.unwrap();
    assert_eq!(open().await, ["a"], "what fires stays open");
    bed.first
        .upsert_alerts(&[alert("a", AlertState::Resolved), alert("b", AlertState::Resolved)])
        .await
        .unwrap();
    assert_eq!(open().await, ["a"], "and until somebody has settled that it is over");
    bed.first.dispatch(&settle("a")).await.unwrap();
    assert_eq!(open().await, [""; 0]);
    bed.first.upsert_alerts(&[alert("b", AlertState::Firing)]).await.unwrap();
    assert_eq!(open().await, ["b"], "it came again under the same id");
    let before = bed.first.kept_alert("b").await.unwrap().unwrap();
    let closed = Triage { closed: Some(act(bed)), ..Triage::default() };
    assert!(bed.first.triage(&before, &closed).await.unwrap());
    bed.first.dispatch(&settle("b")).await.unwrap();
    bed.first.upsert_alerts(&[alert("b", AlertState::Firing)]).await.unwrap();
    assert_eq!(open().await, [""; 0], "what is closed stays settled");
}

pub(crate) async fn history_is_told_of_each_change(bed: &Bed) {
    let unrecorded = async || {
        let some = bed.second.unrecorded_alerts(10).await.unwrap();
        some.into_iter().map(|kept| (kept.alert.id, kept.revision)).collect::<Vec<_>>()
    };
    let brute = firing(bed, "brute").await;
    assert_eq!(unrecorded().await, [("brute".to_owned(), 1)]);
    bed.first.recorded(&unrecorded().await).await.unwrap();
    assert!(unrecorded().await.is_empty());
    let mut grown = alert("brute", AlertState::Firing);
    grown.count += 1;
    bed.first.upsert_alerts(&[grown]).await.unwrap();
    assert!(unrecorded().await.is_empty(), "that it goes on is no news");
    bed.first.upsert_alerts(&[alert("brute", AlertState::Resolved)]).await.unwrap();
    let two = unrecorded().await;
    assert_eq!(two, [("brute".to_owned(), 2)]);
    bed.first.give_verdict(&verdict(bed, &brute, VerdictKind::Benign)).await.unwrap();
    bed.first.recorded(&two).await.unwrap();
    assert_eq!(unrecorded().await, [("brute".to_owned(), 3)], "what came meanwhile is still to be told");
    bed.first.recorded(&[("brute".to_owned(), 3)]).await.unwrap();
    bed.first.recorded(&two).await.unwrap();
    assert!(unrecorded().await.is_empty());
}

pub(crate) async fn each_change_of_a_verdict_is_to_be_copied(bed: &Bed) {
    let uncopied = async || bed.second.uncopied_verdicts(10).await.unwrap();
    let brute = firing(bed, "brute").await;
    firing(bed, "other").await;
    assert!(uncopied().await.is_empty());
    bed.first.give_verdict(&verdict(bed, &brute, VerdictKind::Benign)).await.unwrap();
    assert_eq!(uncopied().await, [("brute".to_owned(), 1)]);
    bed.first.give_verdict(&verdict(bed, &brute, VerdictKind::TruePositive)).await.unwrap();
    assert!(bed.second.verdict_copied("brute", 1).await.unwrap());
    assert_eq!(uncopied().await, [("brute".to_owned(), 2)], "what came meanwhile is still to be copied");
    assert!(bed.first.verdict_copied("brute", 2).await.unwrap());
    assert!(uncopied().await.is_empty());
    // Somebody who was slower may have copied an older one behind that.
    assert!(!bed.second.verdict_copied("brute", 1).await.unwrap());
    assert_eq!(uncopied().await, [("brute".to_owned(), 3)]);
    assert!(bed.first.verdict_copied("brute", 3).await.unwrap());
    bed.first.take_back_verdict("brute").await.unwrap();
    assert!(!bed.first.take_back_verdict("brute").await.unwrap());
    assert_eq!(uncopied().await, [("brute".to_owned(), 4)]);
    bed.first.upsert_alerts(&[alert("brute", AlertState::Resolved)]).await.unwrap();
    assert_eq!(uncopied().await.len(), 1, "that it is over says nothing of what it was");
}

pub(crate) async fn verdicts_are_given_counted_and_taken_back(bed: &Bed) {
    let (brute, other) = (firing(bed, "brute").await, firing(bed, "other").await);
    let false_positive = verdict(bed, &brute, VerdictKind::FalsePositive);
    assert!(bed.first.give_verdict(&false_positive).await.unwrap());
    let kept = Verdict { reason: "a scanner of \u{fffd} ours".to_owned(), ..false_positive.clone() };
    assert_eq!(bed.second.verdict("brute").await.unwrap(), Some(kept.clone()));
    let alone = Verdict { scope: VerdictScope::This, ..verdict(bed, &other, VerdictKind::FalsePositive) };
    assert!(bed.second.give_verdict(&alone).await.unwrap());
    assert_eq!(bed.second.false_positives().await.unwrap(), [kept], "of others than itself alone");
    let count = |kinds: &[(VerdictKind, u64)]| {
        BTreeMap::from([(brute.alert.rule_id.clone(), kinds.iter().copied().collect())])
    };
    assert_eq!(bed.first.verdict_counts().await.unwrap(), count(&[(VerdictKind::FalsePositive, 2)]));
    assert!(bed.first.give_verdict(&verdict(bed, &other, VerdictKind::TruePositive)).await.unwrap());
    let both = count(&[(VerdictKind::FalsePositive, 1), (VerdictKind::TruePositive, 1)]);
    assert_eq!(bed.first.verdict_counts().await.unwrap(), both);

    let of_rule = bed.second.verdicts_of(&brute.alert.rule_id).await.unwrap();
    assert_eq!(of_rule.iter().map(|of| of.alert_id.as_str()).collect::<Vec<_>>(), ["brute", "other"]);
    assert!(bed.second.verdicts_of("another").await.unwrap().is_empty());

    bed.clock.advance(HOUR);
    assert!(bed.first.false_positives().await.unwrap().is_empty(), "its time is over");
    assert_eq!(bed.first.verdict_counts().await.unwrap(), both, "it counts all the same");
    assert!(bed.first.take_back_verdict("brute").await.unwrap());
    assert!(!bed.second.take_back_verdict("brute").await.unwrap());
    assert_eq!(bed.second.verdict("brute").await.unwrap(), None);
    let missing = Verdict { alert_id: "nothing".to_owned(), ..false_positive };
    assert!(!bed.first.give_verdict(&missing).await.unwrap());
    assert!(!bed.first.take_back_verdict("nothing").await.unwrap());
}
