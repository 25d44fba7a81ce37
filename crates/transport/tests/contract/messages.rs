//! Messages on their way: order, reports, bounds, and the topic itself.

use crate::world::{
    PARTITIONS, PATIENCE, Sender, World, assigned, from_start, messages, number, payload, read_from_start,
    read_numbers, soon, until,
};
use bytes::Bytes;
use millrace_model::{Clock, Partition, SystemClock, wire};
use millrace_transport::{Consumer, Producer, Rejected, Start};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub(crate) async fn come_out_as_they_went_in_and_in_order(world: World) {
    let before = SystemClock.now();
    let topic = world.open().await;
    assert_eq!(topic.name(), world.settings.name());
    let mut sender = Sender::new(&world.sending(&topic).await, 64);
    assert_eq!(sender.producer.partitions().await.unwrap(), PARTITIONS);
    let places = sender.send_all(0..2000).await;
    assert_eq!(places.len(), 2000);
    assert!(sender.producer.flush(PATIENCE).await, "nothing is under way once all is reported");

    let mut consumer = topic.consumer("readers").unwrap();
    let assignment = assigned(&mut consumer).await;
    let found: Vec<_> = assignment.partitions.iter().map(|p| (p.partition.0, p.low, p.high)).collect();
    assert_eq!(found, [(0, 0, 501), (1, 0, 501), (2, 0, 501), (3, 0, 501)]);
    let ids: BTreeSet<_> = assignment.partitions.iter().map(|p| p.topic_id.unwrap()).collect();
    assert_eq!(ids.len(), 1);
    let at = from_start(&assignment);
    assignment.start(at);

    let mut next = BTreeMap::new();
    let mut markers = 0;
    let mut numbers = BTreeMap::<Partition, Vec<u64>>::new();
    while numbers.values().map(Vec::len).sum::<usize>() < 2000 || markers < PARTITIONS {
        for message in messages(&mut consumer).await {
            let expected = next.entry(message.partition).or_insert(0);
            assert_eq!(message.offset, *expected);
            *expected += 1;
            assert!(message.timestamp.as_millis() >= before.as_millis());
            let Some(number) = number(&message) else {
                let marker = wire::decode(&message.headers, &message.value).unwrap();
                assert_eq!(marker, wire::Decoded::TopicMarker(*ids.first().unwrap()));
                assert_eq!(message.offset, 0);
                markers += 1;
                continue;
            };
            let sent = payload(number);
            assert_eq!(
                (&message.key, &message.headers, &message.value),
                (&sent.key, &sent.headers, &sent.value)
            );
            assert_eq!(places[&number], (message.partition, message.offset));
            numbers.entry(message.partition).or_default().push(number);
        }
    }
    assert!(numbers.values().all(|numbers| numbers.is_sorted()));
    assert_eq!(markers, PARTITIONS);
    assert_eq!(consumer.end(Partition(0)), Some(501));
    assert_eq!(consumer.end(Partition(99)), None);
    assert_eq!(topic.healthy(), Ok(()));
    consumer.close().await;
}

pub(crate) async fn what_can_never_be_taken_is_rejected_and_the_rest_goes_on(world: World) {
    let topic = world.open().await;
    let mut sender = Sender::new(&world.sending(&topic).await, 16);
    let mut huge = payload(1);
    huge.value = Bytes::from(vec![7; topic.max_message_bytes() + 1]);
    let bytes = huge.value.len() + huge.key.len();
    sender.producer.send(Partition(0), payload(0), 0).await.unwrap();
    sender.producer.send(Partition(0), huge, 1).await.unwrap();
    sender.producer.send(Partition(77), payload(2), 2).await.unwrap();
    sender.producer.send(Partition(0), payload(3), 3).await.unwrap();
    let mut outcomes = BTreeMap::new();
    while outcomes.len() < 4 {
        let report = soon(sender.reports.recv()).await.unwrap();
        outcomes.insert(report.ticket, report.outcome);
    }
    assert_eq!(outcomes[&0], Ok((Partition(0), 1)));
    assert!(matches!(&outcomes[&1], Err(Rejected::TooLarge { bytes: found }) if *found >= bytes));
    assert_eq!(outcomes[&2], Err(Rejected::NoSuchPartition(Partition(77))));
    assert_eq!(outcomes[&3], Ok((Partition(0), 2)));
    assert_eq!(world.metric("millrace_transport_rejected_messages_total"), 2);
}

pub(crate) async fn no_more_are_under_way_than_reports_have_room(world: World) {
    let topic = world.open().await;
    let mut sender = Sender::new(&world.sending(&topic).await, 8);
    for number in 0..8 {
        soon(sender.producer.send(Partition(0), payload(number), number)).await.unwrap();
    }
    assert!(sender.producer.flush(Duration::from_mins(1)).await, "reports are made though nobody takes them");
    let mut ninth = Box::pin(sender.producer.send(Partition(0), payload(8), 8));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut ninth).await.is_err(),
        "there was no room for it"
    );
    assert_eq!(sender.reports.recv().await.unwrap().ticket, 0);
    soon(ninth).await.unwrap();
    for ticket in 1..=8 {
        assert_eq!(soon(sender.reports.recv()).await.unwrap().ticket, ticket);
    }
    sender.reports.close();
    assert!(sender.producer.send(Partition(0), payload(9), 9).await.is_err(), "nobody would ever hear of it");
}

pub(crate) async fn a_slow_pipeline_bounds_what_is_read_ahead(world: World) {
    const COUNT: u64 = 200;
    let topic = world.open().await;
    let mut sender = Sender::new(&topic, COUNT as usize);
    for number in 0..COUNT {
        let mut large = payload(number);
        large.value = Bytes::from(vec![number as u8; 600_000]);
        let partition = Partition((number % u64::from(PARTITIONS)) as i32);
        sender.producer.send(partition, large, number).await.unwrap();
    }
    for _ in 0..COUNT {
        soon(sender.reports.recv()).await.unwrap().outcome.unwrap();
    }
    let mut consumer = read_from_start(&topic, "slow").await;
    let queued = || world.metric("millrace_transport_receive_queue_bytes");
    until(|| queued() >= 30 << 20).await;
    // The group does not notice: nothing is revoked, and everything comes.
    let mut most = 0;
    let mut found = BTreeMap::<Partition, Vec<u64>>::new();
    while found.values().map(Vec::len).sum::<usize>() < COUNT as usize {
        most = most.max(queued());
        for message in messages(&mut consumer).await {
            if let Some(number) = number(&message) {
                found.entry(message.partition).or_default().push(number);
            }
        }
    }
    assert!(most <= 64 << 20, "{most} bytes were read ahead");
    assert!(found.values().all(|numbers| numbers.is_sorted() && numbers.len() == (COUNT / 4) as usize));
    consumer.close().await;
    assert_eq!(queued(), 0);
}

pub(crate) async fn the_dead_letter_topic_is_one_of_its_own(world: World) {
    let topic = world.open().await;
    let dead = topic.dead().await.unwrap();
    assert_eq!(dead.name(), format!("{}.dead", topic.name()));
    let sending = world.sending(&topic).await.dead().await.unwrap();
    let mut sender = Sender::new(&sending, 4);
    assert_eq!(sender.producer.partitions().await.unwrap(), 1);
    // What the topic itself just takes fits, with its story.
    let mut letter = payload(1);
    letter.value = Bytes::from(vec![1; topic.max_message_bytes()]);
    letter.headers.push(("reason".to_owned(), Bytes::from(vec![b'r'; 10_000])));
    sender.producer.send(Partition(0), letter, 1).await.unwrap();
    assert_eq!(soon(sender.reports.recv()).await.unwrap().outcome, Ok((Partition(0), 1)));
    assert_eq!(topic.dead().await.unwrap().name(), dead.name(), "a second look is the same topic");

    let mut consumer = dead.consumer("undertaker").unwrap();
    let assignment = assigned(&mut consumer).await;
    assert_eq!(assignment.partitions.len(), 1);
    assignment.start(vec![(Partition(0), Start::Offset(1))]);
    assert_eq!(number(&read_numbers(&mut consumer, 1).await[0]), Some(1));
    consumer.close().await;
}

pub(crate) async fn what_is_refused_is_kept_as_a_dead_letter(world: World) {
    let topic = world.open().await;
    let sender = Sender::new(&world.sending(&topic).await, 4);
    sender.producer.keep_dead(Partition(3), payload(7), "it is poison").await.unwrap();
    let page = topic.dead().await.unwrap().page(Partition(0), 0, 10).await.unwrap();
    let letter = page.messages.iter().find(|message| number(message) == Some(7)).unwrap();
    assert_eq!(wire::reason(&letter.headers), Some("it is poison"));
    let place = wire::letter(&letter.headers).unwrap();
    assert_eq!((place.topic.as_str(), place.partition, place.offset), (topic.name(), Partition(3), None));
    assert_eq!((&letter.key, &letter.value), (&payload(7).key, &payload(7).value));
}

pub(crate) async fn a_topic_made_again_has_another_id(world: World) {
    let mut ids = BTreeSet::new();
    for _ in 0..2 {
        let topic = world.open().await;
        let mut consumer = topic.consumer("readers").unwrap();
        let assignment = assigned(&mut consumer).await;
        let id = assignment.partitions[0].topic_id.unwrap();
        assert!(assignment.partitions.iter().all(|p| p.topic_id == Some(id) && p.high == 1));
        ids.insert(id);
        consumer.close().await;
        drop(topic);

        // Opened again it is still the same.
        let topic = world.open().await;
        let mut consumer = topic.consumer("readers").unwrap();
        let assignment = assigned(&mut consumer).await;
        assert!(assignment.partitions.iter().all(|p| p.topic_id == Some(id) && p.high == 1));
        consumer.close().await;
        drop(topic);
        world.delete().await;
    }
    assert_eq!(ids.len(), 2);
}

pub(crate) async fn counts_add_up(world: World) {
    let topic = world.open().await;
    let mut sender = Sender::new(&world.sending(&topic).await, 64);
    let before = world.metric("millrace_transport_sent_messages_total");
    sender.send_all(0..100).await;
    assert_eq!(world.metric("millrace_transport_sent_messages_total") - before, 100);
    assert_eq!(world.metric("millrace_transport_send_queue_bytes"), 0);
    assert!(world.metric("millrace_transport_sent_bytes_total") > 1000);
    let mut consumer = read_from_start(&topic, "readers").await;
    read_numbers(&mut consumer, 100).await;
    assert!(world.metric("millrace_transport_received_messages_total") >= 100);
    assert!(world.metric("millrace_transport_received_bytes_total") > 1000);
    consumer.close().await;
}

pub(crate) async fn the_topic_says_how_many_partitions_it_has(world: World) {
    let topic = world.open().await;
    assert_eq!(world.sending(&topic).await.partitions().await.unwrap(), PARTITIONS);
}

pub(crate) async fn pages_are_read_apart_from_every_group(world: World) {
    let topic = world.open().await;
    let mut sender = Sender::new(&topic, 64);
    sender.send_all(0..400).await;
    let at = Partition(1);
    let mut numbers = Vec::new();
    let mut from = 0;
    loop {
        let page = topic.page(at, from, 30).await.unwrap();
        assert_eq!((page.low, page.end), (0, 101));
        if page.messages.is_empty() {
            assert_eq!(page.next, 101);
            break;
        }
        assert!(page.messages.len() <= 30 && page.next > from);
        numbers.extend(page.messages.iter().filter_map(number));
        from = page.next;
    }
    assert_eq!(numbers, (0..100).map(|n| n * 4 + 1).collect::<Vec<u64>>());
    let one = topic.page(at, 50, 1).await.unwrap();
    assert_eq!((one.messages.len(), one.messages[0].offset, one.next), (1, 50, 51));
    assert_eq!(one.messages[0].value, payload(197).value);
    let error = topic.page(Partition(77), 0, 1).await.unwrap_err();
    assert!(error.to_string().contains("no partition 77"), "{error}");
}
