//! Which partitions the members of a group read, as the group's coordinator tells it.
//!
//! The member that assigns partitions asks for the topic's metadata at that moment. If the topic is just then away, or has fewer
//! partitions than a moment later, what it leaves out stays unread: librdkafka (2.12) compares later metadata with those it
//! joined with, finds no difference, and calls for no new assignment.

use super::context::Context;
use millrace_model::Partition;
use rdkafka::{
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
};
use std::{collections::BTreeSet, time::Duration};

/// Each of the two questions waits so long for its answer.
const REQUEST: Duration = Duration::from_millis(500);

/// Partitions of the topic that no member of the group has, while the group is settled; none while it is not. Blocks, for a second
/// at most.
pub(super) fn unread(
    client: &BaseConsumer<Context>,
    topic: &str,
    group: &str,
) -> KafkaResult<BTreeSet<Partition>> {
    let groups = client.fetch_group_list(Some(group), REQUEST)?;
    let Some(group) = groups.groups().iter().find(|found| found.name() == group && found.state() == "Stable")
    else {
        return Ok(BTreeSet::new());
    };
    let mut read = BTreeSet::new();
    for member in group.members() {
        // What is written in a way that we do not know may be anything.
        let Some(partitions) = member.assignment().and_then(|bytes| partitions_of(topic, bytes)) else {
            return Ok(BTreeSet::new());
        };
        read.extend(partitions);
    }
    Ok(partitions(client, topic)?.into_iter().filter(|partition| !read.contains(partition)).collect())
}

/// All partitions that the topic has. Blocks, for half a second at most.
pub(super) fn partitions(client: &BaseConsumer<Context>, topic: &str) -> KafkaResult<BTreeSet<Partition>> {
    let metadata = client.fetch_metadata(Some(topic), REQUEST)?;
    let found = metadata.topics().iter().filter(|found| found.name() == topic && found.error().is_none());
    Ok(found.flat_map(|found| found.partitions().iter().map(|partition| Partition(partition.id()))).collect())
}

/// A member's partitions of a topic. `None`: these bytes are not Kafka's `ConsumerProtocolAssignment`, of which all versions begin
/// alike: the version (2 bytes), and the topics, each a name and its partitions. A list begins with its length in 4 bytes, a
/// name in 2.
fn partitions_of(topic: &str, bytes: &[u8]) -> Option<BTreeSet<Partition>> {
    let mut found = BTreeSet::new();
    // A member that was given nothing may have no bytes at all.
    if bytes.is_empty() {
        return Some(found);
    }
    let rest = &mut { bytes };
    let _version = i16::from_be_bytes(take(rest)?);
    for _ in 0..i32::from_be_bytes(take(rest)?) {
        let length = usize::try_from(i16::from_be_bytes(take(rest)?)).ok()?;
        let (name, after) = rest.split_at_checked(length)?;
        *rest = after;
        for _ in 0..i32::from_be_bytes(take(rest)?) {
            let partition = Partition(i32::from_be_bytes(take(rest)?));
            if name == topic.as_bytes() {
                found.insert(partition);
            }
        }
    }
    Some(found)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn written(topics: &[(String, Vec<i32>)]) -> Vec<u8> {
        let mut bytes = vec![0, 3];
        bytes.extend((topics.len() as i32).to_be_bytes());
        for (name, partitions) in topics {
            bytes.extend((name.len() as i16).to_be_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend((partitions.len() as i32).to_be_bytes());
            bytes.extend(partitions.iter().flat_map(|partition| partition.to_be_bytes()));
        }
        // No data of the assignor's.
        bytes.extend((-1_i32).to_be_bytes());
        bytes
    }

    #[test]
    fn a_member_with_nothing_has_nothing() {
        assert_eq!(partitions_of("logs", &[]), Some(BTreeSet::new()));
        assert_eq!(partitions_of("logs", &written(&[])), Some(BTreeSet::new()));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(topics in vec(("[a-c]{1,3}", vec(0..100_i32, 0..5)), 0..5), cut in 0..40_usize) {
            let bytes = written(&topics);
            for (name, _) in &topics {
                let of_that_name = topics.iter().filter(|(other, _)| other == name);
                let expected = of_that_name.flat_map(|(_, partitions)| partitions.iter().copied().map(Partition));
                prop_assert_eq!(partitions_of(name, &bytes), Some(expected.collect()));
            }
            // Torn before the assignor's data: nobody can say what it was.
            if let Some(torn) = bytes.len().checked_sub(5 + cut).filter(|torn| *torn > 0) {
                prop_assert_eq!(partitions_of("a", &bytes[..torn]), None);
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..200)) {
            partitions_of("logs", &bytes);
        }
    }
}
