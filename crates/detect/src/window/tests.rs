//! The window against a reference that sorts everything and tries every stretch.

use super::*;
use millrace_model::SourceId;
use proptest::prelude::*;
use std::collections::HashSet;

const SECOND: i64 = 1_000_000_000;

fn event(seconds: i64, number: u64, value: Option<u64>) -> Event {
    let time = Timestamp(seconds * SECOND);
    Event {
        time,
        heard: time,
        id: RecordId { source: SourceId(1), position: number, index: 0 },
        value,
        weight: 1,
    }
}

fn goal(count: usize, seconds: u64, distinct: bool) -> Goal {
    Goal { count, span: Duration::from_secs(seconds), distinct }
}

/// Feeds events at these seconds, in this order; after how many of them the goal is first reached.
fn reached_after(seconds: &[i64], goal: &Goal) -> Option<usize> {
    let mut window = Window::default();
    seconds
        .iter()
        .enumerate()
        .find_map(|(number, at)| window.insert(event(*at, number as u64, None), goal).map(|_| number + 1))
}

#[test]
fn enough_records_in_time_reach_the_goal() {
    let every_second: Vec<i64> = (0..60).collect();
    assert_eq!(reached_after(&every_second, &goal(59, 3600, false)), Some(59));
    assert_eq!(reached_after(&every_second, &goal(61, 3600, false)), None);
    assert_eq!(reached_after(&every_second, &goal(60, 60, false)), Some(60));
    assert_eq!(reached_after(&every_second, &goal(60, 59, false)), None, "the last second is just outside");
}

#[test]
fn an_event_from_the_future_pushes_nothing_out() {
    assert_eq!(reached_after(&[100, 101, 102, 103, 164, 105], &goal(5, 60, false)), Some(6));
    assert_eq!(reached_after(&[5000, 1000, 1001, 1002, 1003], &goal(5, 60, false)), None);
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    // 50 events of an hour earlier, then the real ones out of order: only the last few make it 50 of one hour.
    let mut order: Vec<i64> =
        (7200..7210).chain(0..50).chain(7215..7220).chain(7210..7215).chain(7220..7255).collect();
    order.extend([7259, 7257, 7258]);
    assert_eq!(reached_after(&order, &goal(60, 3600, false)), None);
    order.extend([7255, 7256]);
    assert_eq!(reached_after(&order, &goal(60, 3600, false)), Some(order.len()));
}

#[test]
fn late_counts_complete_an_old_window() {
    let minutes = |minute: i64, times: usize| std::iter::repeat_n(minute * 60, times);
    let goal = goal(100, 3600, false);
    let four: Vec<i64> =
        minutes(0, 75).chain(minutes(15, 10)).chain(minutes(25, 10)).chain(minutes(45, 6)).collect();
    assert_eq!(reached_after(&four, &goal), Some(100));
    let mut expired: Vec<i64> =
        minutes(0, 75).chain(minutes(45, 10)).chain(minutes(55, 10)).chain(minutes(65, 6)).collect();
    assert_eq!(reached_after(&expired, &goal), None);
    expired.extend(minutes(60, 75));
    assert_eq!(reached_after(&expired, &goal), Some(101 + 74));
}

#[test]
fn the_same_record_counts_once() {
    let mut window = Window::default();
    for _ in 0..10 {
        assert_eq!(window.insert(event(1, 7, None), &goal(2, 60, false)), None);
    }
    assert_eq!(window.insert(event(1, 8, None), &goal(2, 60, false)), Some(0..2));
}

#[test]
fn distinct_values_are_kept_thin() {
    let mut window = Window::default();
    for number in 0..10_000 {
        assert_eq!(window.insert(event(number / 100, number as u64, Some(1)), &goal(2, 60, true)), None);
    }
    assert!(window.events().len() <= 6, "{}", window.events().len());
    assert_eq!(window.events().iter().map(|e| e.weight).sum::<u32>(), 10_000);
    assert!(window.insert(event(99, 10_000, Some(2)), &goal(2, 60, true)).is_some());
}

#[test]
fn what_was_heard_long_ago_is_forgotten() {
    let mut window = Window::default();
    let goal = goal(9, 600, false);
    for (number, minute) in [0, 5, 3, -5, 9, 14].into_iter().enumerate() {
        window.insert(event(minute * 60, number as u64, None), &goal);
    }
    let minutes: Vec<i64> = window.events().iter().map(|e| e.time.0 / SECOND / 60).collect();
    assert_eq!(minutes, [-5, 0, 3, 5, 9, 14]);
    window.forget_heard_before(Timestamp(4 * 60 * SECOND));
    assert_eq!(window.events().len(), 3);
    assert_eq!(window.last_heard(), Some(Timestamp(14 * 60 * SECOND)));
}

/// Is there a stretch shorter than the span that holds enough?
fn reference(events: &[Event], goal: &Goal) -> bool {
    events.iter().any(|first| {
        let inside = events.iter().filter(|e| e.time >= first.time && fits(first.time, e.time, goal.span));
        if goal.distinct {
            inside.map(|e| e.value).collect::<HashSet<_>>().len() >= goal.count
        } else {
            inside.count() >= goal.count
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_order_gives_what_the_reference_gives(
        seconds in proptest::collection::vec((0i64..300, 0u64..6), 0..80),
        count in 1usize..12,
        span in 1u64..90,
        distinct in any::<bool>(),
    ) {
        let goal = goal(count, span, distinct);
        let mut window = Window::default();
        let mut given = Vec::new();
        for (number, (at, value)) in seconds.into_iter().enumerate() {
            let event = event(at, number as u64, distinct.then_some(value));
            given.push(event);
            let reached = window.insert(event, &goal);
            prop_assert_eq!(reached.is_some(), reference(&given, &goal), "after {} events", given.len());
            if let Some(run) = reached {
                let run: Vec<Event> = window.events().range(run).copied().collect();
                prop_assert!(run.iter().any(|e| e.id == event.id), "the event that made it fire is in it");
                prop_assert!(fits(run[0].time, run[run.len() - 1].time, goal.span));
                break;
            }
        }
    }

    /// In whatever order records happen and are heard, those are kept that were heard since.
    #[test]
    fn what_is_kept_was_heard_since(
        steps in proptest::collection::vec((0i64..300, 0i64..9, proptest::option::of(0i64..60)), 0..80),
        in_order in any::<bool>(),
    ) {
        let goal = goal(1000, 60, false);
        let (mut window, mut kept, mut now) = (Window::default(), Vec::new(), 0);
        for (number, (at, pause, forget)) in steps.into_iter().enumerate() {
            now += pause;
            let time = Timestamp(if in_order { now } else { at });
            let event = Event { heard: Timestamp(now), time, ..event(0, number as u64, None) };
            window.insert(event, &goal);
            kept.push(event);
            if let Some(before) = forget.map(|since| Timestamp(now - since)) {
                window.forget_heard_before(before);
                kept.retain(|event| event.heard >= before);
            }
            kept.sort_by_key(|event| (event.time, event.id));
            prop_assert_eq!(window.events(), &kept);
            prop_assert_eq!(window.last_heard(), kept.iter().map(|event| event.heard).max());
        }
    }
}
