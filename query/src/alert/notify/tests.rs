//! The outbox against receivers that fail, hang, come back; and processes that die in between.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::alert::{
    fixtures,
    receivers::{self, settings::ReceiverSettings},
};
use millrace_catalogue::{Alert, AlertState, Dispatch, Notification};
use millrace_model::ManualClock;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

struct Bed {
    catalogue: Catalogue,
    clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
}

async fn bed() -> Bed {
    let (catalogue, clock, folder) = fixtures::catalogue(Timestamp::from_millis(1_700_000_000_000)).await;
    let alert = Alert { fingerprint: "f".into(), ..fixtures::alert("a", clock.now()) };
    catalogue.upsert_alerts(&[alert]).await.unwrap();
    Bed { catalogue, clock, _folder: folder }
}

impl Bed {
    /// Puts something for a receiver into the outbox.
    async fn put(&self, receiver: &str, sequence: u64) {
        let alert = self.catalogue.kept_alert("a").await.unwrap().unwrap();
        let alert = crate::alert::told::AlertTold::from(&alert);
        let id = format!("a/{receiver}/0-{sequence}");
        let message = Message {
            version: "1".to_owned(),
            id: id.clone(),
            status: AlertState::Firing,
            receiver: receiver.to_owned(),
            group: BTreeMap::new(),
            repeated: false,
            alerts: vec![alert.clone()],
            alert,
            changed: vec!["a".to_owned()],
        };
        let notification = Notification {
            id,
            alert_id: "a".to_owned(),
            receiver: receiver.to_owned(),
            body: serde_json::to_string(&message).unwrap(),
            created: self.clock.now(),
            about: format!("a/{receiver}"),
            sequence,
        };
        let dispatch = Dispatch { notifications: vec![notification], ..Dispatch::default() };
        self.catalogue.dispatch(&dispatch).await.unwrap();
    }

    fn worker(&self, name: &str, url: &str) -> Worker {
        Worker {
            name: name.to_owned(),
            receiver: Arc::clone(&receivers(&[(name, url)], &self.clock)[name]),
            catalogue: self.catalogue.clone(),
            clock: Arc::<ManualClock>::clone(&self.clock),
            metrics: Metrics::default(),
            bucket: Bucket::new(60, Instant::now()),
        }
    }

    async fn due(&self, name: &str) -> Option<DueNotification> {
        self.catalogue.due_notifications(name, 1).await.unwrap().pop()
    }
}

fn receivers(named: &[(&str, &str)], clock: &Arc<ManualClock>) -> Receivers {
    let one = |(name, url): &(&str, &str)| {
        format!(
            "[query.alerts.receivers.{name}]\ntype = \"webhook\"\nurl = \"{url}\"\ntimeout = \"20s\"\ngive_up_after = \"1h\"\n"
        )
    };
    let text: String = named.iter().map(one).collect::<Vec<_>>().concat();
    let settings: BTreeMap<String, ReceiverSettings> =
        crate::settings::tests::read(&text).unwrap().alerts.receivers;
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    receivers::open(settings, &clock).unwrap()
}

/// Answers each request with the status that is set, or never (0). What came is kept.
#[derive(Clone, Default)]
struct Server {
    status: Arc<Mutex<u16>>,
    keys: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(status: u16) -> (String, Self) {
        let server = Self { status: Arc::new(Mutex::new(status)), keys: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = server.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move {
                    let mut text = Vec::new();
                    let body = |text: &[u8]| {
                        let text = String::from_utf8_lossy(text).into_owned();
                        let (_, body) = text.split_once("\r\n\r\n")?;
                        serde_json::from_str::<Value>(body).ok()
                    };
                    while body(&text).is_none() {
                        if stream.read_buf(&mut text).await.unwrap() == 0 {
                            return;
                        }
                    }
                    this.keys.lock().unwrap().push(body(&text).unwrap()["id"].as_str().unwrap().to_owned());
                    let status = *this.status.lock().unwrap();
                    if status == 0 {
                        std::future::pending::<()>().await;
                    }
                    let answer =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        (url, server)
    }

    fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }
}

fn counted(worker: &Worker, outcome: &'static str) -> u64 {
    worker.metrics.notifications.get_or_create(&label(&worker.name, outcome)).get()
}

#[tokio::test]
async fn a_receiver_that_was_down_is_told_when_it_is_up_in_order_and_once() {
    let bed = bed().await;
    let (url, server) = Server::start(503).await;
    bed.put("ops", 1).await;
    bed.put("ops", 2).await;
    let worker = bed.worker("ops", &url);
    let began = bed.clock.now();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let due = bed.due("ops").await.unwrap();
        assert!(due.notification.id.ends_with("-1"), "the second waits for the first");
        assert!(worker.deliver(&due).await);
        assert!(bed.due("ops").await.is_none());
        let before = bed.clock.now();
        while bed.due("ops").await.is_none() {
            bed.clock.advance(Duration::from_millis(100));
        }
        pauses.push(bed.clock.now().since(before));
    }
    assert!(
        pauses.iter().zip(0..).all(|(pause, n)| {
            let wait = Duration::from_secs(1 << n);
            *pause >= wait.mul_f64(0.7) && *pause <= wait.mul_f64(1.3)
        }),
        "{pauses:?}"
    );
    assert!(bed.clock.now().since(began) < Duration::from_hours(1));
    *server.status.lock().unwrap() = 200;
    for _ in 0..2 {
        worker.deliver(&bed.due("ops").await.unwrap()).await;
    }
    assert!(bed.due("ops").await.is_none());
    assert_eq!(server.keys()[5..], ["a/ops/0-1", "a/ops/0-1", "a/ops/0-2"]);
    assert_eq!((counted(&worker, "failed"), counted(&worker, "delivered")), (6, 2));
}

#[tokio::test]
async fn what_is_too_old_is_given_up_and_what_is_refused_is_not_tried_again() {
    let bed = bed().await;
    let (url, server) = Server::start(500).await;
    let worker = bed.worker("ops", &url);
    bed.put("ops", 1).await;
    let mut attempts = 0;
    while let Some(due) = bed.due("ops").await {
        worker.deliver(&due).await;
        attempts += 1;
        bed.clock.advance(Duration::from_mins(13));
    }
    assert_eq!((attempts, counted(&worker, "given_up")), (6, 1));
    *server.status.lock().unwrap() = 400;
    bed.put("ops", 2).await;
    worker.deliver(&bed.due("ops").await.unwrap()).await;
    bed.clock.advance(Duration::from_hours(1));
    assert!(bed.due("ops").await.is_none());
    assert_eq!(counted(&worker, "refused"), 1);
}

#[tokio::test]
async fn a_process_that_died_between_claim_and_answer_is_made_up_for() {
    let bed = bed().await;
    let (url, server) = Server::start(200).await;
    bed.put("ops", 1).await;
    let due = bed.due("ops").await.unwrap();
    assert!(
        bed.catalogue.claim_notification(&due.notification.id, bed.clock.now().plus(CLAIM)).await.unwrap()
    );
    // It may have been sent by then; nobody knows. It is nobody else's until the claim is over.
    let successor = bed.worker("ops", &url);
    assert!(!successor.deliver(&due).await);
    assert!(bed.due("ops").await.is_none() && server.keys().is_empty());
    bed.clock.advance(CLAIM);
    let again = bed.due("ops").await.unwrap();
    assert!(successor.deliver(&again).await);
    assert_eq!(server.keys(), ["a/ops/0-1"], "under the same key");
    // What was acknowledged is not sent again, whoever starts.
    bed.clock.advance(Duration::from_hours(1));
    assert!(bed.due("ops").await.is_none());
    assert!(!bed.worker("ops", &url).deliver(&again).await);
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    let bed = bed().await;
    let (hangs, silent) = Server::start(0).await;
    let (works, server) = Server::start(200).await;
    for number in 1..=5 {
        bed.put("silent", number).await;
        bed.put("ops", number).await;
    }
    let (_ring, rung) = watch::channel(());
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&bed.clock);
    let named = receivers(&[("silent", &hangs), ("ops", &works)], &bed.clock);
    let notifier = Notifier::new(bed.catalogue.clone(), clock, named, Metrics::default(), rung);
    let stop = CancellationToken::new();
    let running = tokio::spawn(notifier.run(stop.clone()));
    // Less than the time that the silent one may take.
    let all = async {
        while server.keys().len() < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), all).await.unwrap();
    assert!(silent.keys().len() <= 1);
    running.abort();
    stop.cancel();
}

#[tokio::test]
async fn what_belongs_to_nobody_is_given_up_after_a_day() {
    let bed = bed().await;
    bed.put("gone", 1).await;
    let overdue =
        async |age| bed.catalogue.overdue_notifications(bed.clock.now().minus(age), 10).await.unwrap();
    assert_eq!(overdue(Duration::ZERO).await.len(), 0);
    bed.clock.advance(ORPHANED + Duration::from_secs(1));
    assert_eq!(overdue(ORPHANED).await[0].notification.receiver, "gone");
}

#[test]
fn so_many_a_minute_are_sent() {
    let start = Instant::now();
    let mut bucket = Bucket::new(6, start);
    let mut waits: Vec<u64> = (0..9).map(|_| bucket.take(start).as_millis() as u64).collect();
    assert_eq!(waits.split_off(6), [10_000, 20_000, 30_000]);
    assert_eq!(waits, [0; 6]);
    assert_eq!(bucket.take(start + Duration::from_secs(40)), Duration::ZERO);
    assert_eq!(bucket.take(start + Duration::from_hours(1)), Duration::ZERO);
    assert_eq!(json!(bucket.tokens as u32), json!(5), "no more than a minute's worth is saved up");
}

#[test]
fn pauses_grow_and_differ() {
    for failures in 0..20 {
        let (one, other) = (pause("a/ops/1", failures), pause("b/ops/1", failures));
        assert!(one != other && one <= MAX_WAIT.mul_f64(1.25));
    }
    assert!(pause("a", 9) > pause("a", 3));
}
