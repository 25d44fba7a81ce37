//! Failures that a real broker shows once a year, made by librdkafka's own mock broker: the client breaks, and everything
//! that was not reported is sent again, in order.

use crate::world::{PATIENCE, Sender, World, payload, soon};
use millrace_model::Partition;
use millrace_transport::{Producer, Topic};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use std::time::Instant;

const COUNT: u64 = 300;

type Mock = MockCluster<'static, DefaultProducerContext>;

/// A mock cluster with the world's topic in it, of one partition.
async fn mock() -> (Mock, World, Topic) {
    let mock = MockCluster::new(1).unwrap();
    let world = World::kafka_at(&mock.bootstrap_servers());
    mock.create_topic(world.settings.name(), 1, 1).unwrap();
    let topic = world.open().await;
    (mock, world, topic)
}

/// Sends a third, sets the trap, sends the rest: all is delivered, and lies there in order. A message may lie there twice.
async fn survives(key: RDKafkaApiKey, error: RDKafkaRespErr, times: usize) {
    let (mock, world, topic) = mock().await;
    let mut sender = Sender::new(&topic, COUNT as usize);
    for number in 0..COUNT {
        if number == COUNT / 3 {
            assert!(sender.producer.flush(PATIENCE).await);
            mock.request_errors(key, &vec![error; times]);
        }
        sender.producer.send(Partition(0), payload(number), number).await.unwrap();
    }
    for expected in 0..COUNT {
        let report = soon(sender.reports.recv()).await.unwrap();
        assert!(report.outcome.is_ok(), "{:?}", report.outcome);
        assert_eq!(report.ticket, expected);
    }
    assert!(world.metric("millrace_transport_send_retries_total") >= 1, "the client was never replaced");
    assert_eq!(topic.healthy(), Ok(()));
    let name = world.settings.name().to_owned();
    let bootstrap = mock.bootstrap_servers();
    let read = move || read_first_seen(&bootstrap, &name);
    let seen = tokio::task::spawn_blocking(read).await.unwrap();
    assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
}

/// The numbers in the topic in the order in which they are first seen.
fn read_first_seen(bootstrap: &str, name: &str) -> Vec<u64> {
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", "verify").create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(name, 0, Offset::Beginning).unwrap();
    client.assign(&list).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while seen.len() < COUNT as usize && Instant::now() < deadline {
        let Some(message) = client.poll(PATIENCE) else { break };
        let message = message.unwrap();
        let value = message.headers().unwrap().get(0).value.unwrap();
        let number = std::str::from_utf8(value).unwrap().parse().unwrap();
        if !seen.contains(&number) {
            seen.push(number);
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fatal_error_of_the_idempotent_producer() {
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    survives(RDKafkaApiKey::Produce, error, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_are_taken_away_and_given_back() {
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    survives(RDKafkaApiKey::Produce, error, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_the_broker_refuses_costs_only_itself() {
    let (mock, _world, topic) = mock().await;
    let mut sender = Sender::new(&topic, 10);
    sender.producer.send(Partition(0), payload(0), 0).await.unwrap();
    soon(sender.reports.recv()).await.unwrap().outcome.unwrap();
    mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD]);
    sender.producer.send(Partition(0), payload(1), 1).await.unwrap();
    assert!(soon(sender.reports.recv()).await.unwrap().outcome.is_err());
    sender.producer.send(Partition(0), payload(2), 2).await.unwrap();
    soon(sender.reports.recv()).await.unwrap().outcome.unwrap();
}
