//! What a network and another host do to messages on their way: nothing is lost, nothing changes its place, and each is reported once.

use crate::world::{PATIENCE, Sender, World, number, payload, read_from_start, read_numbers, soon, until};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use millrace_config::Secret;
use millrace_model::Partition;
use millrace_transport::{Consumer, HttpSettings, Producer, Rejected, Topic, router};
use std::{
    collections::{BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;

const COUNT: u64 = 400;

/// What becomes of a request for messages.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The topic takes them, and the connection breaks before anybody hears of it.
    NoAnswer,
    /// Nobody is asked.
    Unavailable,
    /// It answers in words that mean nothing.
    Nonsense,
}

type Faults = Arc<Mutex<VecDeque<Fault>>>;

/// Faults are for messages alone, one each, and then all is well.
async fn faulty(State(faults): State<Faults>, request: Request, next: Next) -> Response {
    let fault = (request.method() == "POST").then(|| faults.lock().unwrap().pop_front()).flatten();
    match fault {
        None => next.run(request).await,
        Some(Fault::NoAnswer) => {
            assert_eq!(next.run(request).await.status(), StatusCode::OK);
            let cut = futures_util::stream::once(async { Err::<Bytes, _>(io::Error::other("cut")) });
            Body::from_stream(cut).into_response()
        }
        Some(Fault::Unavailable) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Fault::Nonsense) => "<html>welcome</html>".into_response(),
    }
}

/// The numbers in the topic in the order in which they are first seen, of each partition.
async fn assert_all_in_order(topic: &Topic, count: u64) {
    let mut consumer = read_from_start(topic, "verify").await;
    let (mut seen, mut last) = (BTreeSet::new(), [None; 4]);
    while seen.len() < count as usize {
        for message in read_numbers(&mut consumer, 1).await {
            let (number, last) = (number(&message).unwrap(), &mut last[message.partition.0 as usize]);
            if seen.insert(number) {
                assert!(last.is_none_or(|last| last < number), "{number} comes after {last:?}");
                *last = Some(number);
            }
        }
    }
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_lost_lose_no_message() {
    let world = World::http();
    let topic = world.open().await;
    let faults = Faults::default();
    let url = world.serve(router(&topic).layer(from_fn_with_state(Arc::clone(&faults), faulty))).await;
    let afar = world.open_afar(HttpSettings::new(&url)).await;
    let mut sender = Sender::new(&afar, COUNT as usize);
    let plan = [Fault::NoAnswer, Fault::Unavailable, Fault::Nonsense, Fault::NoAnswer];
    for (part, fault) in (0..COUNT).step_by(100).zip(plan) {
        faults.lock().unwrap().push_back(fault);
        let places = sender.send_all(part..part + 100).await;
        assert_eq!(places.len(), 100);
    }
    assert!(faults.lock().unwrap().is_empty());
    assert_eq!(afar.healthy(), Ok(()));
    // What was taken and not answered for lies there twice: whoever reads knows its messages.
    assert_all_in_order(&topic, COUNT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_away_is_waited_for() {
    let world = World::http();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    drop(listener);
    let afar = world.open_afar(HttpSettings::new(&format!("http://{address}"))).await;
    assert!(afar.healthy().unwrap_err().contains("refused"), "{:?}", afar.healthy());
    let mut sender = Sender::new(&afar, COUNT as usize);
    assert!(sender.producer.partitions().await.is_err());
    for number in 0..COUNT {
        let partition = Partition((number % 4) as i32);
        sender.producer.send(partition, payload(number), number).await.unwrap();
    }
    assert!(!sender.producer.flush(std::time::Duration::from_millis(300)).await);
    let topic = world.open().await;
    world.serve_at(TcpListener::bind(address).await.unwrap(), router(&topic));
    for _ in 0..COUNT {
        assert!(soon(sender.reports.recv()).await.unwrap().outcome.is_ok());
    }
    assert!(sender.producer.flush(PATIENCE).await);
    assert_eq!(afar.healthy(), Ok(()));
    assert_all_in_order(&topic, COUNT).await;
}

/// As whoever serves the routes does it.
async fn with_token(request: Request, next: Next) -> Response {
    match request.headers().get(header::AUTHORIZATION) {
        Some(token) if token == "Bearer right" => next.run(request).await,
        _ => (StatusCode::UNAUTHORIZED, r#"{"error":{"message":"the token is wrong"}}"#).into_response(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_shown_and_a_wrong_one_is_said() {
    let world = World::http();
    let topic = world.open().await;
    let url = world.serve(router(&topic).layer(from_fn(with_token))).await;
    let of = |token: &str| {
        let mut settings = HttpSettings::new(&url);
        settings.token = Some(Secret::new(token));
        settings
    };
    let afar = world.open_afar(of("wrong")).await;
    assert_eq!(afar.healthy(), Err("401 Unauthorized: the token is wrong".to_owned()));
    let afar = world.open_afar(of("right")).await;
    assert_eq!(afar.healthy(), Ok(()));
    assert_eq!(Sender::new(&afar, 8).send_all(0..4).await.len(), 4);
}

/// A gateway in between that lets small requests through.
async fn narrow(request: Request, next: Next) -> Response {
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        Some(20_001_u64..) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        _ => next.run(request).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn less_is_sent_at_once_where_less_is_taken() {
    let world = World::http();
    let topic = world.open().await;
    let url = world.serve(router(&topic).layer(from_fn(narrow))).await;
    let afar = world.open_afar(HttpSettings::new(&url)).await;
    let mut sender = Sender::new(&afar, COUNT as usize);
    // Bytes that do not compress: together they are far too large, and the last of them is alone.
    let noise = |number: u64, size: usize| {
        let mut noisy = payload(number);
        let mut state = number.wrapping_add(1);
        let byte = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        noisy.value = (0..size).map(byte).collect::<Vec<u8>>().into();
        noisy
    };
    for number in 0..40 {
        let size = if number == 20 { 30_000 } else { 5_000 };
        sender.producer.send(Partition((number % 4) as i32), noise(number, size), number).await.unwrap();
    }
    for _ in 0..40 {
        let report = soon(sender.reports.recv()).await.unwrap();
        match report.ticket {
            20 => assert!(matches!(report.outcome, Err(Rejected::TooLarge { bytes }) if bytes >= 30_000)),
            _ => assert!(report.outcome.is_ok(), "{report:?}"),
        }
    }
    until(|| world.metric("millrace_transport_send_queue_bytes") == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_for_sending_only() {
    let world = World::http();
    let topic = world.open().await;
    let afar = world.sending(&topic).await;
    assert!(afar.consumer("readers").unwrap_err().to_string().contains("only sent to"));
    assert!(afar.page(Partition(0), 0, 1).await.is_err());
    assert_eq!(afar.keeps().await, None);
    assert_eq!(afar.verify().await.unwrap().len(), 0);
    assert_eq!(afar.agents().await.unwrap().partitions().await.unwrap(), 1);
    assert_eq!(topic.agents().await.unwrap().name(), "logs.agents");
}
