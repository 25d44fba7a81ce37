//! Desks over one catalogue: what is decided is decided once, whoever dies when; and what history is told.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::alert::{fixtures, routes::Gathering};
use millrace_catalogue::{Alert, AlertState, Delivery, Hushed};
use millrace_model::{LogRecord, ManualClock};
use std::sync::Mutex;

type Records = Arc<Mutex<Vec<LogRecord>>>;

async fn catalogue() -> (Catalogue, Arc<ManualClock>, tempfile::TempDir) {
    fixtures::catalogue(Timestamp::from_millis(1_700_000_000_000)).await
}

fn desk(catalogue: &Catalogue, clock: &Arc<ManualClock>, put: Option<Put>) -> Desk {
    desk_of("one", catalogue, clock, put)
}

fn desk_of(node: &str, catalogue: &Catalogue, clock: &Arc<ManualClock>, put: Option<Put>) -> Desk {
    let receivers = [("ops".to_owned(), None)].into();
    Desk::new(DeskParts {
        catalogue: catalogue.clone(),
        clock: Arc::<ManualClock>::clone(clock),
        routing: Routing { receivers, ..Routing::default() },
        wake: Arc::new(Notify::new()),
        ring: watch::channel(()).0,
        put,
        node: node.to_owned(),
    })
}

fn alert(id: &str, state: AlertState, now: Timestamp) -> Alert {
    Alert {
        state,
        group: [("host".to_owned(), "web1".to_owned())].into(),
        resolved_at: (state == AlertState::Resolved).then_some(now),
        ..fixtures::alert(id, now)
    }
}

async fn outbox(catalogue: &Catalogue) -> Vec<String> {
    let due = catalogue.due_notifications("ops", 100).await.unwrap();
    due.into_iter().map(|due| due.notification.id).collect()
}

#[tokio::test]
async fn what_is_decided_is_decided_once_whoever_looks() {
    let (catalogue, clock, _folder) = catalogue().await;
    let (one, other) = (desk(&catalogue, &clock, None), desk(&catalogue, &clock, None));
    catalogue.upsert_alerts(&[alert("a", AlertState::Firing, clock.now())]).await.unwrap();
    let outcomes = tokio::join!(one.look(), other.look());
    assert!(outcomes.0.is_ok() || outcomes.1.is_ok(), "{outcomes:?}");
    for outcome in [outcomes.0, outcomes.1] {
        assert!(matches!(outcome, Ok(_) | Err(Error::Conflict { .. })), "{outcome:?}");
    }
    let first = outbox(&catalogue).await;
    assert_eq!(first.len(), 1);
    catalogue.notified(&first[0], &Delivery::Delivered).await.unwrap();
    // Another process, later: everybody has been told.
    clock.advance(Duration::from_mins(1));
    desk(&catalogue, &clock, None).look().await.unwrap();
    assert!(outbox(&catalogue).await.is_empty());
    catalogue.upsert_alerts(&[alert("a", AlertState::Resolved, clock.now())]).await.unwrap();
    other.look().await.unwrap();
    one.look().await.unwrap();
    let second = outbox(&catalogue).await;
    assert!(second.len() == 1 && second != first, "{second:?}");
    clock.advance(Duration::from_mins(1));
    one.look().await.unwrap();
    assert!(catalogue.open_alerts().await.unwrap().is_empty());
    assert!(catalogue.documents(plan::KIND).await.unwrap().is_empty());
    assert_eq!(one.look().await.unwrap(), None);
}

#[tokio::test]
async fn a_silence_in_the_catalogue_is_heeded_and_something_is_due_in_time() {
    let (catalogue, clock, _folder) = catalogue().await;
    let now = clock.now();
    let wanted = silence::Wanted {
        matcher: "host:web1".into(),
        starts: None,
        ends: Some(now.plus(Duration::from_mins(1))),
        weekly: Vec::new(),
        comment: String::new(),
    };
    let kept = wanted.check("s1".into(), "ann", now).unwrap().kept;
    catalogue.put_document(silence::KIND, "s1", None, &serde_json::to_string(&kept).unwrap()).await.unwrap();
    catalogue.put_document(silence::KIND, "s0", None, "of a later version").await.unwrap();
    catalogue.upsert_alerts(&[alert("a", AlertState::Firing, now)]).await.unwrap();
    let mut desk = desk(&catalogue, &clock, None);
    desk.look().await.unwrap();
    assert!(outbox(&catalogue).await.is_empty());
    let marks = catalogue.kept_alert("a").await.unwrap().unwrap().marks;
    assert_eq!((marks.hushed, marks.silences), (Some(Hushed::Silenced), vec!["s1".to_owned()]));
    clock.advance(Duration::from_mins(1));
    desk.look().await.unwrap();
    assert_eq!(outbox(&catalogue).await.len(), 1);

    let gathering = Gathering { by: Some(Vec::new()), wait: Duration::from_secs(7), ..Gathering::ALONE };
    let route = crate::alert::routes::Route {
        matcher: None,
        receivers: vec!["ops".into()],
        goes_on: false,
        gathering,
    };
    desk.parts.routing.routes.push(route);
    catalogue.upsert_alerts(&[alert("b", AlertState::Firing, now)]).await.unwrap();
    assert_eq!(desk.look().await.unwrap(), Some(clock.now().plus(Duration::from_secs(7))));
}

#[tokio::test]
async fn history_is_told_of_each_change_and_waits_where_nothing_is_taken_in() {
    let (catalogue, clock, _folder) = catalogue().await;
    let (records, fails) = (Records::default(), Arc::new(Mutex::new(true)));
    let put: Put = {
        let (records, fails) = (Arc::clone(&records), Arc::clone(&fails));
        Arc::new(move |stream, some| {
            assert_eq!(stream.as_str(), "alerts");
            let fails = *fails.lock().unwrap();
            if !fails {
                records.lock().unwrap().extend(some);
            }
            Box::pin(async move { if fails { Err("full".to_owned()) } else { Ok(()) } })
        })
    };
    let mut desk = desk(&catalogue, &clock, Some(put));
    catalogue.upsert_alerts(&[alert("a", AlertState::Firing, clock.now())]).await.unwrap();
    desk.write_history().await;
    assert!(records.lock().unwrap().is_empty() && desk.not_before.is_some());
    *fails.lock().unwrap() = false;
    desk.not_before = None;
    for state in [AlertState::Firing, AlertState::Resolved] {
        catalogue.upsert_alerts(&[alert("a", state, clock.now())]).await.unwrap();
        desk.write_history().await;
        desk.write_history().await;
    }
    let records = records.lock().unwrap();
    let bodies: Vec<&str> = records.iter().filter_map(|record| record.body.as_str()).collect();
    assert_eq!(bodies, ["firing: R (host=web1)", "resolved: R (host=web1)"]);
    let attribute =
        |name: &str| records[1].attributes.get(name).and_then(|value| value.as_str().map(str::to_owned));
    assert_eq!(attribute("alert.state").as_deref(), Some("resolved"));
    assert_eq!((attribute("host").as_deref(), attribute("rule.id").as_deref()), (Some("web1"), Some("r")));
}

#[tokio::test]
async fn history_is_written_by_one_of_two_nodes_and_by_the_other_when_that_cannot() {
    let (catalogue, clock, _folder) = catalogue().await;
    let (records, broken) = (Records::default(), Arc::new(Mutex::new(String::new())));
    let put = |node: &'static str| -> Put {
        let (records, broken) = (Arc::clone(&records), Arc::clone(&broken));
        Arc::new(move |_, some| {
            let fails = *broken.lock().unwrap() == node;
            let records = Arc::clone(&records);
            Box::pin(async move {
                // The other node looks before this one has noted what it wrote.
                tokio::task::yield_now().await;
                if fails {
                    return Err("full".to_owned());
                }
                records.lock().unwrap().extend(some);
                Ok(())
            })
        })
    };
    let mut one = desk_of("one", &catalogue, &clock, Some(put("one")));
    let mut other = desk_of("other", &catalogue, &clock, Some(put("other")));
    let written = || records.lock().unwrap().len();
    for nth in 1..=20 {
        let alert = alert(&format!("a{nth}"), AlertState::Firing, clock.now());
        catalogue.upsert_alerts(&[alert]).await.unwrap();
        tokio::join!(one.write_history(), other.write_history());
        assert_eq!(written(), nth, "each change once");
    }

    // Whoever cannot write lets the other do it at once.
    for (nth, node) in [(21, "one"), (22, "other")] {
        node.clone_into(&mut broken.lock().unwrap());
        let alert = alert(&format!("a{nth}"), AlertState::Firing, clock.now());
        catalogue.upsert_alerts(&[alert]).await.unwrap();
        for _ in 0..2 {
            for desk in [&mut one, &mut other] {
                desk.not_before = None;
                desk.write_history().await;
            }
        }
        assert_eq!(written(), nth, "{node} is broken");
    }

    // Whoever is gone holds it up until the lease ends.
    broken.lock().unwrap().clear();
    drop(one);
    catalogue.upsert_alerts(&[alert("b", AlertState::Firing, clock.now())]).await.unwrap();
    other.not_before = None;
    other.write_history().await;
    assert_eq!(written(), 22);
    clock.advance(LEASE);
    other.write_history().await;
    assert_eq!(written(), 23);
}
