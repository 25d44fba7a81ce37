//! Groups: where reading begins, who reads what, and how partitions change hands.

use crate::world::{
    PARTITIONS, Sender, World, assigned, from_start, messages, number, read_from_start, read_numbers,
    revoked, soon, until,
};
use millrace_model::Partition;
use millrace_transport::{
    AnyConsumer, AssignedPartition, Assignment, Consumer, ConsumerEvent, Message, Start,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

pub(crate) async fn reading_begins_where_it_is_told(world: World) {
    let topic = world.open().await;
    Sender::new(&topic, 64).send_all(0..400).await;
    let mut consumer = topic.consumer("readers").unwrap();
    // Partition 3 is not named: it stays unread. Partition 9 is not ours.
    let at = [(0, Start::Offset(51)), (1, Start::Earliest), (2, Start::Offset(101)), (9, Start::Earliest)];
    assigned(&mut consumer).await.start(at.map(|(partition, start)| (Partition(partition), start)).into());
    let mut found = BTreeMap::<i32, Vec<i64>>::new();
    while found.get(&0).map_or(0, Vec::len) < 50 || found.get(&1).map_or(0, Vec::len) < 101 {
        for message in messages(&mut consumer).await {
            found.entry(message.partition.0).or_default().push(message.offset);
        }
    }
    Sender::new(&topic, 64).send_all([402].into_iter()).await;
    while !found.contains_key(&2) {
        for message in messages(&mut consumer).await {
            found.entry(message.partition.0).or_default().push(message.offset);
        }
    }
    assert_eq!(found[&0], (51..101).collect::<Vec<_>>());
    assert_eq!(found[&1], (0..101).collect::<Vec<_>>());
    assert_eq!(found[&2], [101]);
    assert!(!found.contains_key(&3));
    consumer.close().await;
}

pub(crate) async fn what_is_not_there_is_never_passed_over(world: World) {
    let topic = world.open().await;
    Sender::new(&topic, 64).send_all(0..40).await;
    let mut consumer = topic.consumer("readers").unwrap();
    let at = [(0, Start::Offset(5000)), (1, Start::Earliest)];
    assigned(&mut consumer).await.start(at.map(|(partition, start)| (Partition(partition), start)).into());
    // Of the others something may be read; of that one nothing, until somebody has said where to go on.
    let revocation = loop {
        match soon(consumer.next()).await.unwrap() {
            ConsumerEvent::Messages(messages) => {
                assert!(messages.iter().all(|message| message.partition == Partition(1)));
            }
            ConsumerEvent::Revoked(revocation) => break revocation,
            ConsumerEvent::Assigned(assignment) => panic!("{assignment:?}"),
        }
    };
    assert!(!revocation.lost, "what was read can be settled");
    revocation.done();
    let assignment = assigned(&mut consumer).await;
    assert_eq!((assignment.partitions[0].low, assignment.partitions[0].high), (0, 11));
    let at = from_start(&assignment);
    assignment.start(at);
    assert_eq!(read_numbers(&mut consumer, 40).await.len(), 40);
    consumer.close().await;
}

pub(crate) async fn an_assignment_that_nobody_starts_is_offered_again(world: World) {
    let topic = world.open().await;
    let mut consumer = topic.consumer("readers").unwrap();
    drop(assigned(&mut consumer).await);
    let places = Sender::new(&topic, 64).send_all(0..40).await;
    assert_eq!(places.len(), 40);
    // It may be offered once more before the messages are there; each time as it then is.
    loop {
        let assignment = assigned(&mut consumer).await;
        if assignment.partitions.iter().all(|assigned| assigned.high == 11) {
            let at = from_start(&assignment);
            assignment.start(at);
            break;
        }
    }
    assert_eq!(read_numbers(&mut consumer, 40).await.len(), 40);
    consumer.close().await;
}

pub(crate) async fn a_paused_partition_waits_and_its_end_is_known(world: World) {
    let topic = world.open().await;
    let mut sender = Sender::new(&topic, 64);
    sender.send_all(0..40).await;
    let mut consumer = read_from_start(&topic, "readers").await;
    read_numbers(&mut consumer, 40).await;
    consumer.pause(&[Partition(0)]);
    // Until the pause is heard, messages may still come: send to partition 0 until one does not, before one of 1.
    let mut number_sent = 40;
    let mut late = Vec::new();
    loop {
        sender.send_all(number_sent..number_sent + 4).await;
        number_sent += 4;
        let mut others = BTreeSet::new();
        while others.len() < 3 {
            for message in messages(&mut consumer).await {
                match message.partition {
                    Partition(0) => late.push(number(&message).unwrap()),
                    Partition(other) => drop(others.insert(other)),
                }
            }
        }
        if late.last() != Some(&(number_sent - 4)) {
            break;
        }
    }
    let end = i64::try_from(number_sent / 4).unwrap() + 1;
    until(|| consumer.end(Partition(0)) == Some(end)).await;
    consumer.resume(&[Partition(0)]);
    while late.last() != Some(&(number_sent - 4)) {
        late.extend(messages(&mut consumer).await.iter().map(|message| number(message).unwrap()));
    }
    assert_eq!(late, (40..number_sent).step_by(4).collect::<Vec<_>>(), "all of them, once, in order");
    consumer.close().await;
}

/// A pipeline's memory: where each partition goes on, and what it has read.
#[derive(Default)]
struct Pipeline {
    next: BTreeMap<Partition, i64>,
    numbers: Vec<u64>,
}

impl Pipeline {
    fn take(&mut self, messages: Vec<Message>) {
        for message in messages {
            let next = self.next.entry(message.partition).or_insert(message.offset);
            assert_eq!(message.offset, *next, "partition {}", message.partition);
            *next += 1;
            self.numbers.extend(number(&message));
        }
    }

    fn start(&self, assignment: Assignment) -> Vec<Partition> {
        let partitions: Vec<_> = assignment.partitions.iter().map(|p| p.partition).collect();
        let start = |partition| self.next.get(partition).map_or(Start::Earliest, |next| Start::Offset(*next));
        let at = partitions.iter().map(|partition| (*partition, start(partition))).collect();
        assignment.start(at);
        partitions
    }
}

/// Goes on until this consumer has been given a share of so many partitions.
async fn settle(consumer: &mut AnyConsumer, pipeline: &mut Pipeline, share: usize) -> Vec<Partition> {
    loop {
        match soon(consumer.next()).await.unwrap() {
            ConsumerEvent::Assigned(assignment) => {
                let partitions = pipeline.start(assignment);
                if partitions.len() == share {
                    return partitions;
                }
            }
            ConsumerEvent::Revoked(revocation) => {
                assert!(!revocation.lost);
                assert!(revocation.deadline <= Instant::now() + Duration::from_secs(2));
                revocation.done();
            }
            ConsumerEvent::Messages(messages) => pipeline.take(messages),
        }
    }
}

pub(crate) async fn two_members_share_and_hand_over(world: World) {
    let topic = world.open().await;
    let mut sender = Sender::new(&topic, 64);
    sender.send_all(0..400).await;
    let mut pipeline = Pipeline::default();
    let mut first = topic.consumer("pair").unwrap();
    assert_eq!(settle(&mut first, &mut pipeline, 4).await.len(), 4);
    while pipeline.numbers.len() < 400 {
        pipeline.take(messages(&mut first).await);
    }

    // A second member: the first gives everything up, and each gets its half. What the two know they share here, as
    // they would through the catalogue.
    let mut second = topic.consumer("pair").unwrap();
    let mut other = Pipeline { next: pipeline.next.clone(), numbers: Vec::new() };
    let (ours, theirs) =
        tokio::join!(settle(&mut first, &mut pipeline, 2), settle(&mut second, &mut other, 2));
    let all: BTreeSet<_> = ours.iter().chain(&theirs).copied().collect();
    assert_eq!(all.len(), 4, "{ours:?} and {theirs:?}");
    sender.send_all(400..800).await;
    while pipeline.numbers.len() < 600 {
        pipeline.take(messages(&mut first).await);
    }
    while other.numbers.len() < 200 {
        other.take(messages(&mut second).await);
    }

    // The second leaves: the first has everything again, from where the other was.
    second.close().await;
    for partition in &theirs {
        pipeline.next.insert(*partition, other.next[partition]);
    }
    assert_eq!(settle(&mut first, &mut pipeline, 4).await.len(), 4);
    sender.send_all(800..900).await;
    while pipeline.numbers.len() < 700 {
        pipeline.take(messages(&mut first).await);
    }
    let mut numbers: Vec<_> = pipeline.numbers.into_iter().chain(other.numbers).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..900).collect::<Vec<_>>(), "each once");
    first.close().await;
}

pub(crate) async fn a_member_that_does_not_settle_is_not_waited_for(world: World) {
    let topic = world.open().await;
    let mut first = read_from_start(&topic, "pair").await;
    let mut second = topic.consumer("pair").unwrap();
    let kept = revoked(&mut first).await;
    assert_eq!(kept.partitions.len(), PARTITIONS as usize);
    // The revocation is held for good; the second member gets its half all the same, once the deadline is past.
    let assignment = assigned(&mut second).await;
    assert_eq!(assignment.partitions.len(), 2);
    assert!(Instant::now() >= kept.deadline);
    kept.done();
    first.close().await;
    second.close().await;
}

pub(crate) async fn commits_survive_reopening(world: World) {
    let topic = world.open().await;
    Sender::new(&topic, 64).send_all(0..40).await;
    let mut consumer = read_from_start(&topic, "committers").await;
    read_numbers(&mut consumer, 40).await;
    assert_eq!(world.committed("committers", Partition(1)).await, None);
    consumer.commit(&[(Partition(0), 3), (Partition(1), 11)]);
    consumer.commit(&[(Partition(0), 7)]);
    let mut committed = None;
    soon(async {
        while committed != Some(7) {
            committed = world.committed("committers", Partition(0)).await;
        }
    })
    .await;
    consumer.close().await;
    drop(topic);

    let topic = world.open().await;
    assert_eq!(world.committed("committers", Partition(0)).await, Some(7));
    assert_eq!(world.committed("committers", Partition(1)).await, Some(11));
    // Advisory: reading begins where it is told, not there.
    let mut consumer = read_from_start(&topic, "committers").await;
    assert_eq!(read_numbers(&mut consumer, 40).await.len(), 40);
    consumer.close().await;
}

pub(crate) async fn two_groups_read_everything_each(world: World) {
    let topic = world.open().await;
    let mut indexer = read_from_start(&topic, "indexer").await;
    let mut detect = read_from_start(&topic, "detect").await;
    Sender::new(&topic, 64).send_all(0..400).await;
    assert_eq!(read_numbers(&mut indexer, 400).await.len(), 400);
    assert_eq!(read_numbers(&mut detect, 400).await.len(), 400);
    indexer.close().await;
    detect.close().await;
}

pub(crate) async fn a_reader_in_no_group_reads_everything_beside_them(world: World) {
    let topic = world.open().await;
    let mut sender = Sender::new(&topic, 64);
    sender.send_all(0..40).await;
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut reader = topic.reader().unwrap();
        let assignment = assigned(&mut reader).await;
        let numbers: Vec<_> = assignment.partitions.iter().map(|assigned| assigned.partition).collect();
        assert_eq!(numbers, (0..PARTITIONS as i32).map(Partition).collect::<Vec<_>>());
        // One from the start, one from where the topic ends now.
        let at = if readers.is_empty() {
            from_start(&assignment)
        } else {
            let end = |assigned: &AssignedPartition| (assigned.partition, Start::Offset(assigned.high));
            assignment.partitions.iter().map(end).collect()
        };
        assignment.start(at);
        readers.push(reader);
    }
    let mut member = read_from_start(&topic, "indexer").await;
    sender.send_all(40..80).await;
    assert_eq!(read_numbers(&mut member, 80).await.len(), 80, "its group has all partitions to itself");
    for (reader, from) in readers.iter_mut().zip([0, 40]) {
        let mut found: Vec<u64> =
            read_numbers(reader, 80 - from as usize).await.iter().filter_map(number).collect();
        found.sort_unstable();
        assert_eq!(found, (from..80).collect::<Vec<_>>());
        reader.commit(&[(Partition(0), 7)]);
    }
    for reader in readers {
        reader.close().await;
    }
    member.close().await;
}
