//! What only a broker can do: go away, come back, lose a topic under us.

use crate::world::{
    PARTITIONS, Sender, World, assigned, cleanup_policy, delete_topic, from_start, keys_and_values, messages,
    number, payload, read_from_start, read_numbers, remove_records, revoked, soon, until, until_group,
};
use millrace_model::{Partition, SystemClock, TopicId, wire};
use millrace_test_support::kafka::Broker;
use millrace_transport::{Consumer, ConsumerEvent, Error, Producer, Start, Topic, TopicSettings};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Within this time all members of a group have heard that another one wants in.
const NOTICED: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_and_comes_back_costs_nothing() {
    let broker = tokio::task::spawn_blocking(Broker::start).await.unwrap();
    let world = World::kafka_at(&broker.bootstrap);
    let topic = world.open().await;
    let mut consumer = read_from_start(&topic, "readers").await;
    let mut sender = Sender::new(&topic, 500);
    sender.send_all(0..200).await;
    read_numbers(&mut consumer, 200).await;

    let broker = tokio::task::spawn_blocking(move || {
        broker.kill();
        broker
    })
    .await
    .unwrap();
    for number in 200..600 {
        let partition = Partition((number % u64::from(PARTITIONS)) as i32);
        sender.producer.send(partition, payload(number), number).await.unwrap();
    }
    until(|| topic.healthy().is_err()).await;
    assert!(!sender.producer.flush(Duration::ZERO).await);
    // A producer that is dropped with messages under way lets go of them, and of the channel.
    let mut other = Sender::new(&topic, 10);
    other.producer.send(Partition(0), payload(1), 1).await.unwrap();
    drop(other.producer);
    assert_eq!(soon(other.reports.recv()).await, None);

    let broker = tokio::task::spawn_blocking(move || {
        broker.restart();
        broker
    })
    .await
    .unwrap();
    let mut reported = BTreeSet::new();
    while reported.len() < 400 {
        let report = soon(sender.reports.recv()).await.unwrap();
        report.outcome.unwrap();
        assert!(reported.insert(report.ticket));
    }
    until(|| topic.healthy().is_ok()).await;

    // The group may have to be joined again; then everything is read again from the start here.
    let mut found = BTreeMap::<Partition, Vec<u64>>::new();
    while found.values().map(|numbers| numbers.iter().collect::<BTreeSet<_>>().len()).sum::<usize>() < 400 {
        match soon(consumer.next()).await.unwrap() {
            ConsumerEvent::Messages(messages) => {
                for message in messages.iter().filter(|message| number(message) >= Some(200)) {
                    found.entry(message.partition).or_default().extend(number(message));
                }
            }
            ConsumerEvent::Revoked(revocation) => {
                found.clear();
                revocation.done();
            }
            ConsumerEvent::Assigned(assignment) => {
                let at = from_start(&assignment);
                assignment.start(at);
            }
        }
    }
    for numbers in found.values() {
        assert!(numbers.is_sorted_by(|a, b| a < b), "in order, each once: {numbers:?}");
    }
    // Without a broker there is nobody to say goodbye to.
    tokio::task::spawn_blocking(|| drop(broker)).await.unwrap();
    soon(consumer.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    let broker = tokio::task::spawn_blocking(|| {
        let broker = Broker::start();
        broker.stop();
        broker
    })
    .await
    .unwrap();
    let world = World::kafka_at(&broker.bootstrap);
    let topic = world.open().await;
    assert!(topic.healthy().is_err());
    let mut sender = Sender::new(&topic, 10);
    sender.producer.send(Partition(0), payload(0), 0).await.unwrap();
    let mut consumer = topic.consumer("readers").unwrap();
    let restarting = tokio::task::spawn_blocking(move || {
        broker.restart();
        broker
    });
    assert_eq!(soon(sender.producer.partitions()).await.unwrap(), PARTITIONS);
    soon(sender.reports.recv()).await.unwrap().outcome.unwrap();
    let assignment = assigned(&mut consumer).await;
    let at = from_start(&assignment);
    assignment.start(at);
    assert_eq!(read_numbers(&mut consumer, 1).await.len(), 1);
    until(|| topic.healthy().is_ok()).await;
    consumer.close().await;
    drop(restarting.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_create_at_once_one_writes_the_marker() {
    let world = World::kafka();
    let (first, second) = tokio::join!(world.open(), world.open());
    Sender::new(&second, 64).send_all(0..8).await;
    let mut consumer = read_from_start(&first, "readers").await;
    let mut markers = BTreeMap::<Partition, Vec<(i64, TopicId)>>::new();
    let mut numbers = 0;
    while numbers < 8 {
        for message in messages(&mut consumer).await {
            match wire::decode(&message.headers, &message.value) {
                Ok(wire::Decoded::TopicMarker(id)) => {
                    markers.entry(message.partition).or_default().push((message.offset, id));
                }
                _ => numbers += 1,
            }
        }
    }
    assert_eq!(markers.len(), PARTITIONS as usize);
    let (_, id) = markers[&Partition(0)][0];
    assert!(markers.values().all(|markers| *markers == [(0, id)]), "one marker each, first: {markers:?}");
    consumer.close().await;
}

/// Does what an event asks for, reading everything from its start; the numbers that it brought.
fn numbers_of(event: ConsumerEvent) -> Vec<u64> {
    match event {
        ConsumerEvent::Messages(messages) => return messages.iter().filter_map(number).collect(),
        ConsumerEvent::Revoked(revocation) => revocation.done(),
        ConsumerEvent::Assigned(assignment) => {
            let at = from_start(&assignment);
            assignment.start(at);
        }
    }
    Vec::new()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_under_a_reader_is_assigned_afresh() {
    let world = World::kafka();
    let TopicSettings::Kafka(settings) = &world.settings else { unreachable!() };
    let topic = world.open().await;
    Sender::new(&topic, 64).send_all(0..80).await;
    let mut consumer = topic.consumer("readers").unwrap();
    let assignment = assigned(&mut consumer).await;
    let old = assignment.partitions[0].topic_id.unwrap();
    let at = from_start(&assignment);
    assignment.start(at);
    read_numbers(&mut consumer, 80).await;

    delete_topic(settings).await;
    let topic = world.open().await;
    Sender::new(&topic, 64).send_all(100..108).await;
    // Taken away, and given again as what it is now.
    drop(revoked(&mut consumer).await);
    let new = loop {
        match soon(consumer.next()).await.unwrap() {
            ConsumerEvent::Assigned(assignment) => {
                let id = assignment.partitions.first().and_then(|assigned| assigned.topic_id);
                let at = from_start(&assignment);
                assignment.start(at);
                if id.is_some() && id != Some(old) {
                    break id;
                }
            }
            ConsumerEvent::Revoked(revocation) => revocation.done(),
            ConsumerEvent::Messages(_) => {}
        }
    };
    assert_ne!(new, Some(old));
    let mut found = BTreeSet::new();
    while found.len() < 8 {
        found.extend(numbers_of(soon(consumer.next()).await.unwrap()));
    }
    assert_eq!(found, (100..108).collect());
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_shared_out_an_absent_topic_reads_it_when_it_is_back() {
    let world = World::kafka();
    let TopicSettings::Kafka(settings) = &world.settings else { unreachable!() };
    let topic = world.open().await;
    Sender::new(&topic, 64).send_all(0..40).await;
    let mut first = read_from_start(&topic, "pair").await;
    read_numbers(&mut first, 40).await;
    // The second asks to be let in; before the first has heard of it the topic is gone, and there is nothing to share.
    let mut second = topic.consumer("pair").unwrap();
    soon(until_group(settings, "pair", "PreparingRebalance", 2)).await;
    delete_topic(settings).await;
    // A member that happens to notice that the topic is gone does not come: then there is no need to wait for it.
    let shared_out = tokio::time::timeout(NOTICED, until_group(settings, "pair", "Stable", 2));
    tokio::pin!(shared_out);
    loop {
        tokio::select! {
            _ = &mut shared_out => break,
            event = first.next() => if let Some(ConsumerEvent::Revoked(revocation)) = event { revocation.done() },
        }
    }

    let topic = world.open().await;
    Sender::new(&topic, 64).send_all(100..140).await;
    let mut found = BTreeSet::new();
    while found.len() < 40 {
        let event = soon(async {
            tokio::select! { event = first.next() => event, event = second.next() => event }
        });
        found.extend(numbers_of(event.await.unwrap()));
    }
    assert_eq!(found, (100..140).collect());
    tokio::join!(first.close(), second.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_to_a_topic_that_vanished_comes_when_it_is_back() {
    let world = World::kafka();
    let TopicSettings::Kafka(settings) = &world.settings else { unreachable!() };
    let topic = world.open().await;
    let mut sender = Sender::new(&topic, 500);
    sender.send_all(0..40).await;
    delete_topic(settings).await;
    for number in 40..240 {
        let partition = Partition((number % u64::from(PARTITIONS)) as i32);
        let send = sender.producer.send(partition, payload(number), number);
        if tokio::time::timeout(Duration::from_millis(300), send).await.is_err() {
            break;
        }
    }
    until(|| topic.healthy().is_err()).await;
    let again = world.open().await;
    assert!(soon(sender.producer.flush(Duration::from_secs(80))).await);
    let mut delivered = BTreeSet::new();
    while let Ok(report) = sender.reports.try_recv() {
        report.outcome.unwrap();
        delivered.insert(report.ticket);
    }
    assert!(!delivered.is_empty());
    let mut consumer = read_from_start(&again, "readers").await;
    let mut found = BTreeMap::<Partition, Vec<u64>>::new();
    while found.values().flatten().collect::<BTreeSet<_>>().len() < delivered.len() {
        for message in messages(&mut consumer).await {
            found.entry(message.partition).or_default().extend(number(&message));
        }
    }
    for numbers in found.values() {
        assert!(numbers.is_sorted_by(|a, b| a < b), "in order: {numbers:?}");
    }
    assert_eq!(found.into_values().flatten().collect::<BTreeSet<_>>(), delivered);
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_librdkafka_refuses_is_named_at_once() {
    let world = World::kafka();
    let TopicSettings::Kafka(mut settings) = world.settings.clone() else { unreachable!() };
    settings.librdkafka.insert("linger.ms".to_owned(), "soon".to_owned());
    let open = async |settings| {
        Topic::open(&TopicSettings::Kafka(settings), Arc::new(SystemClock), &world.metrics).await
    };
    let refused = open(settings.clone()).await;
    assert!(matches!(&refused, Err(Error::Setting { key, .. }) if key == "linger.ms"), "{refused:?}");
    settings.librdkafka.clear();
    settings.librdkafka.insert("no.such.key".to_owned(), "1".to_owned());
    let refused = open(settings).await;
    assert!(matches!(&refused, Err(Error::Setting { key, .. }) if key == "no.such.key"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_verdicts_the_broker_keeps_the_last_and_one_without_a_value_ends_its_key() {
    let world = World::kafka();
    let TopicSettings::Kafka(settings) = &world.settings else { unreachable!() };
    let topic = world.open().await;
    let verdicts = topic.verdicts().await.unwrap().unwrap();
    assert_eq!(verdicts.name(), format!("{}.verdicts", settings.name));
    let mut sender = Sender::new(&verdicts, 10);
    for (ticket, json) in [Some("{}".to_owned()), None].into_iter().enumerate() {
        let payload = wire::verdict("alert", json);
        sender.producer.send(Partition(0), payload, ticket as u64).await.unwrap();
        soon(sender.reports.recv()).await.unwrap().outcome.unwrap();
    }
    let found = keys_and_values(settings, verdicts.name(), 3).await;
    // The topic's marker is a message with a key and a value of nothing, which is no end of anything.
    let expected = [("", Some("")), ("alert", Some("{}")), ("alert", None)];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
    assert_eq!(found, expected);
    assert_eq!(cleanup_policy(settings, verdicts.name()).await, "compact");
    assert_eq!(cleanup_policy(settings, &settings.name).await, "delete");
    assert_eq!(cleanup_policy(settings, topic.dead().await.unwrap().name()).await, "delete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_removed_under_a_reader_are_not_passed_over() {
    let world = World::kafka();
    let TopicSettings::Kafka(settings) = &world.settings else { unreachable!() };
    let topic = world.open().await;
    Sender::new(&topic, 64).send_all(0..40).await;
    let mut consumer = topic.consumer("readers").unwrap();
    // They go between being seen and being read.
    let assignment = assigned(&mut consumer).await;
    assert_eq!(assignment.partitions[0].low, 0);
    remove_records(settings, Partition(0), 8).await;
    assignment.start(vec![(Partition(0), Start::Offset(5))]);
    let revocation = revoked(&mut consumer).await;
    assert!(!revocation.lost);
    revocation.done();
    let assignment = assigned(&mut consumer).await;
    let found = assignment.partitions[0].clone();
    assert_eq!((found.low, found.high, found.topic_id), (8, 11, None));
    assignment.start(vec![(Partition(0), Start::Offset(8))]);
    let read: Vec<i64> = read_numbers(&mut consumer, 3).await.iter().map(|message| message.offset).collect();
    assert_eq!(read, [8, 9, 10]);
    consumer.close().await;
}
