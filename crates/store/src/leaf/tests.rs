#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::{HotRows, sample};
use proptest::prelude::*;

fn request(limit: usize, order: Order) -> LeafRequest {
    LeafRequest {
        filter: Filter::ALL,
        range: TimeRange::ALL,
        limit,
        order,
        after: None,
        histogram: Some(1_000),
        fragments: None,
    }
}

#[test]
fn buckets_begin_at_multiples_of_the_interval_also_before_the_epoch() {
    for (time, interval, expected) in [
        (0, 10, 0),
        (9, 10, 0),
        (10, 10, 10),
        (-1, 10, -10),
        (i64::MAX, u64::MAX, 0),
        (i64::MIN, 1_000, i64::MIN),
    ] {
        assert_eq!(bucket(Timestamp(time), interval), expected, "{time} {interval}");
    }
}

#[test]
fn requests_travel_as_json() {
    let request = HotRequest {
        request: LeafRequest {
            after: Some((
                Timestamp(5),
                "0000000000000000000000000000002a-0000000000000007-0".parse().unwrap(),
            )),
            filter: millrace_filter::parse("level:>=warn \"größe 5\" -host:web*").unwrap(),
            ..request(3, Order::OldestFirst)
        },
        streams: Some(vec![StreamName::default()]),
        grant: Grant::Streams([StreamName::default()].into()),
        published: vec![Published {
            topic: "t".to_owned(),
            topic_id: None,
            partition: Partition(3),
            next_offset: 9,
        }],
        publish: true,
    };
    let json = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<HotRequest>(&json).unwrap(), request);
    let broken = json.replace("level", "level:[");
    assert!(serde_json::from_str::<HotRequest>(&broken).is_err(), "{broken}");
    // Who does not say what may be seen gets nothing.
    let mut without: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(without.as_object_mut().unwrap().remove("grant").is_some());
    assert!(serde_json::from_value::<HotRequest>(without).is_err());
}

#[test]
fn a_record_that_is_no_hexadecimal_is_an_error() {
    for record in ["zz", "abc", "0a0b", "é"] {
        let json = format!(
            r#"{{"hits":[{{"id":"0000000000000000000000000000002a-0000000000000007-0","stream":"logs","time":"1970-01-01T00:00:00Z","record":"{record}"}}],"total":1,"histogram":{{}},"scanned_bytes":0}}"#
        );
        assert!(serde_json::from_str::<LeafResponse>(&json).is_err(), "{record}");
    }
}

proptest! {
    #[test]
    fn answers_travel_as_json_without_loss(rows in sample::rows(8)) {
        let response = rows.into_iter().collect::<HotRows>().search(&request(100, Order::NewestFirst), i64::MIN, None).unwrap();
        let json = serde_json::to_string(&response).unwrap();
        let back: LeafResponse = serde_json::from_str(&json).unwrap();
        // Doubles that are no numbers do not equal themselves; their text does.
        prop_assert_eq!(format!("{back:?}"), format!("{response:?}"));
    }

    /// However rows are spread over leaves and answers joined: it is the answer of all rows.
    #[test]
    fn joined_answers_are_the_answer_of_all(
        rows in sample::rows(12), cut in (0usize..12, 0usize..12), limit in 0usize..15, newest in any::<bool>(),
    ) {
        let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
        let (first, second) = (cut.0.min(cut.1).min(rows.len()), cut.0.max(cut.1).min(rows.len()));
        let request = request(limit, order);
        let answer =
            |rows: &[crate::HotRow]| rows.iter().cloned().collect::<HotRows>().search(&request, i64::MIN, None).unwrap();
        let (a, b, c) = (answer(&rows[..first]), answer(&rows[first..second]), answer(&rows[second..]));
        let left = a.clone().merge(b.clone(), &request).merge(c.clone(), &request);
        let right = a.merge(b.merge(c, &request), &request);
        let text = |response: &LeafResponse| format!("{response:?}");
        prop_assert_eq!(text(&left), text(&right));
        prop_assert_eq!(text(&left), text(&answer(&rows)));
        let mut places: Vec<Place> = rows.iter().map(|hot| hot.row.order()).collect();
        places.sort_by(|a, b| order.compare(a, b));
        places.truncate(limit);
        prop_assert_eq!(left.hits.iter().map(Row::order).collect::<Vec<_>>(), places);
    }
}
