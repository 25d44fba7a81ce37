//! What hosts have brought to streams.

use super::{Bed, GROUP, TOPIC, cut, own, step};
use crate::{Amount, Brought, Cut, Day, Move, PublishError, TRAFFIC_DAYS, Traffic};
use millrace_model::{Partition, Timestamp};
use std::{collections::BTreeMap, time::Duration};

fn brought(partition: i32, stream: &str, host: &str) -> Brought {
    Brought {
        day: Day(0),
        partition: Partition(partition),
        stream: stream.parse().unwrap(),
        host: host.to_owned(),
    }
}

fn amount(records: u64) -> Amount {
    Amount { records, bytes: records * 100, held_bytes: records / 2 }
}

fn traffic(stream: &str, host: &str, records: u64) -> Traffic {
    Traffic { day: Day(0), stream: stream.parse().unwrap(), host: host.to_owned(), amount: amount(records) }
}

pub(crate) async fn what_is_brought_adds_up(bed: &Bed) {
    let first = own(&bed.first, 0, "a").await;
    let second = own(&bed.second, 1, "b").await;
    let mut next = cut(step(&first, 10));
    next.traffic = BTreeMap::from([
        (brought(0, "web", "host-1"), amount(10)),
        (brought(0, "web", "host-2"), amount(4)),
        (brought(0, "app", "o'host\0"), amount(2)),
    ]);
    bed.first.publish(&next).await.unwrap();
    let again = Move { from: Some(10), to: 20, ..step(&first, 20) };
    let mut next = cut(again);
    next.traffic = BTreeMap::from([(brought(0, "web", "host-1"), amount(6))]);
    bed.first.publish(&next).await.unwrap();
    let mut next = cut(step(&second, 5));
    // More than one statement takes.
    next.traffic = (0..1_200).map(|n| (brought(1, "many", &format!("{n:04}")), amount(2))).collect();
    next.traffic.insert(brought(1, "web", "host-2"), amount(8));
    bed.second.publish(&next).await.unwrap();

    let all = bed.first.traffic(GROUP, Day(0)).await.unwrap();
    let (many, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.stream.as_str() == "many");
    assert_eq!(
        others,
        [traffic("app", "o'host\u{fffd}", 2), traffic("web", "host-1", 16), traffic("web", "host-2", 12)]
    );
    assert_eq!(many.len(), 1_200);
    assert!(bed.first.traffic(GROUP, Day(1)).await.unwrap().is_empty());
    assert!(bed.first.traffic("detect", Day(0)).await.unwrap().is_empty());

    bed.clock.advance(Duration::from_hours(24 * TRAFFIC_DAYS.unsigned_abs()));
    assert_eq!(bed.first.forget_traffic(GROUP).await.unwrap(), 0);
    bed.clock.advance(Duration::from_hours(24));
    assert_eq!(bed.first.forget_traffic(GROUP).await.unwrap(), 1_204);
    assert_eq!((Day::of(Timestamp(-1)), Day(2).start()), (Day(-1), Timestamp(172_800_000_000_000)));
}

pub(crate) async fn what_is_not_published_was_not_brought(bed: &Bed) {
    let owned = own(&bed.first, 0, "a").await;
    own(&bed.second, 0, "b").await;
    let refused =
        Cut { traffic: BTreeMap::from([(brought(0, "web", "h"), amount(1))]), ..cut(step(&owned, 10)) };
    assert_eq!(refused.topic, TOPIC);
    assert!(matches!(bed.first.publish(&refused).await, Err(PublishError::Fenced { .. })));
    assert!(bed.second.traffic(GROUP, Day(0)).await.unwrap().is_empty());
}
