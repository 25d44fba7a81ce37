#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    budget::Budget,
    checkpoint::{FilePlace, JournalPlace},
    source::file::Fingerprint,
};
use millrace_intake::Sealed;
use millrace_model::{AgentId, InstanceId, wire::Payload};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

fn shipment(source: SourceId, start: u64, end: u64, mark: Mark, closes: bool) -> Shipment {
    let sealed = Sealed { payload: Payload::default(), start, end, seams: Vec::new(), records: 1 };
    let hold = Budget::new(1000).share().take(1, &CancellationToken::new()).unwrap();
    Shipment { source, sealed, mark, closes, record_bytes: end - start, hold }
}

fn file_mark(end: u64) -> Mark {
    Mark::File { head: Fingerprint::default(), marker: Fingerprint { length: 1, hash: end }, size: end }
}

fn book_with(place: Place) -> (Book, SourceId) {
    let mut book = Book::new(Checkpoint::new(AgentId(1), InstanceId(2)));
    let source = SourceId(7);
    book.opened(vec![(source, Entry::new("app".to_owned(), place, 0))], Partition(3));
    (book, source)
}

fn file() -> Place {
    let print = Fingerprint::default();
    let identity = FileIdentity { device: 1, inode: 2, born: None };
    Place::File(FilePlace {
        path: "/a".into(),
        at: "/a".into(),
        identity,
        head: print,
        marker: print,
        size: 0,
        packed: None,
    })
}

proptest! {
    #[test]
    fn the_position_never_passes_what_is_not_delivered(
        lengths in prop::collection::vec(1u64..50, 1..20),
        halved in prop::collection::vec(any::<bool>(), 20),
        order in any::<prop::sample::Index>(),
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
    ) {
        let (mut book, source) = book_with(file());
        let (mut at, mut messages, mut ends) = (0, Vec::new(), Vec::new());
        for (number, length) in lengths.iter().enumerate() {
            book.under_way(&shipment(source, at, at + length, file_mark(at + length), false));
            messages.push((at, at + length));
            if halved[number] {
                book.halved(source, at);
                messages.push((at, at + length));
            }
            at += length;
            ends.push(at);
        }
        for (one, other) in swaps {
            let (one, other) = (one.index(messages.len()), other.index(messages.len()));
            messages.swap(one, other);
        }
        // Some are never delivered.
        let count = order.index(messages.len() + 1);
        let (delivered, missing) = messages.split_at(count);
        for (start, _) in delivered {
            book.delivered(source, *start);
        }
        let expected = missing.iter().map(|(start, _)| *start).min().unwrap_or(at);
        let entry = book.entry(source).unwrap();
        prop_assert_eq!(entry.position, expected);
        let Place::File(place) = &entry.place else { panic!() };
        prop_assert_eq!(place.marker.hash, expected, "the marker is that of the position");
    }
}

#[test]
fn a_journal_moves_on_only_when_all_its_sequences_have() {
    let place = Place::Journal(JournalPlace { sequence: "s".to_owned(), journal: "j".to_owned() });
    let (mut book, one) = book_with(place.clone());
    let two = SourceId(8);
    book.opened(vec![(two, Entry::new("app".to_owned(), place, 0))], Partition(3));
    let mark = |cursor: Option<&str>| Mark::Journal { name: "app".into(), cursor: cursor.map(str::to_owned) };
    book.under_way(&shipment(one, 0, 5, mark(None), false));
    book.under_way(&shipment(two, 0, 5, mark(Some("first")), false));
    book.under_way(&shipment(one, 5, 6, mark(Some("second")), false));
    book.delivered(two, 0);
    book.delivered(one, 5);
    assert_eq!(book.checkpoint().cursors.get("app"), None);
    book.delivered(one, 0);
    assert_eq!(book.checkpoint().cursors.get("app").map(String::as_str), Some("second"));
    assert_eq!(book.entry(one).unwrap().position, 6);
}

#[test]
fn an_ended_source_is_remembered_or_forgotten_as_was_decided() {
    for remember in [true, false] {
        let (mut book, source) = book_with(file());
        book.closing(
            source,
            Closing { end: 9, reason: "rotated".to_owned(), lost_at_least: None, remember, goes_on: None },
        );
        book.under_way(&shipment(source, 0, 9, file_mark(9), true));
        book.delivered(source, 0);
        let entry = book.entry(source);
        assert_eq!(entry.map(|entry| (entry.closed, entry.position)), remember.then_some((true, 9)));
    }
}

#[test]
fn what_is_under_way_moves_with_its_source() {
    let (mut book, source) = book_with(file());
    book.under_way(&shipment(source, 0, 5, file_mark(5), false));
    book.delivered(source, 0);
    book.under_way(&shipment(source, 5, 9, file_mark(9), false));
    assert_eq!(book.misplaced(3), [source]);
    let new = book.succeed(source, Partition(0)).unwrap();
    assert_eq!((book.resolve(source), book.entry(source)), (new, None));
    assert_eq!(book.under_way(&shipment(source, 9, 12, file_mark(12), false)), new);
    book.delivered(new, 5);
    let entry = book.entry(new).unwrap();
    assert_eq!((entry.start, entry.position, entry.continues), (5, 9, Some(source)));
    assert!(book.is_urgent() && book.misplaced(3).is_empty());
}
