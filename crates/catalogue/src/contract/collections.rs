//! Documents of clients: written, changed, deleted, numbered and bounded.

use super::Bed;
use crate::{Became, Bounds, Catalogue, Change, CollectionDocument, Decide, Edited, Edits, NotEdited};
use std::{collections::BTreeSet, time::Duration};

const WIDE: Bounds = Bounds { documents: 1000, bytes: 1 << 20, room_after: None };

fn edit(id: &str, change: Change) -> (String, Decide<&'static str>) {
    (id.to_owned(), Box::new(move |_| Ok(change)))
}

fn body(text: &str) -> Change {
    Change::Put(text.to_owned())
}

async fn edits(
    catalogue: &Catalogue,
    bounds: &Bounds,
    edits: Vec<(String, Decide<&'static str>)>,
) -> Edits<&'static str> {
    catalogue.edit_collection("state", bounds, edits).await.unwrap()
}

/// One document more, or another text for it.
pub(crate) async fn put(catalogue: &Catalogue, collection: &str, id: &str, text: &str) {
    let all = catalogue.edit_collection(collection, &WIDE, vec![edit(id, body(text))]).await.unwrap();
    assert!(all.each[0].is_ok(), "{all:?}");
}

async fn ids(catalogue: &Catalogue) -> BTreeSet<String> {
    let all = catalogue.collection_since("state", 0).await.unwrap();
    all.map(|(_, all)| all.into_iter().map(|one| one.id).collect()).unwrap_or_default()
}

/// What the collection says it holds is what lies in it.
async fn adds_up(catalogue: &Catalogue) {
    let (collection, all) = catalogue.collection_since("state", 0).await.unwrap().unwrap();
    let bytes: usize = all.iter().map(|one| one.id.len() + one.body.len()).sum();
    assert_eq!((collection.documents, collection.bytes), (all.len() as u64, bytes as u64));
    assert_eq!(catalogue.collections().await.unwrap(), [collection]);
}

pub(crate) async fn documents_are_written_changed_and_deleted(bed: &Bed) {
    let one = async |catalogue: &Catalogue, change: Change| {
        edits(catalogue, &WIDE, vec![edit("a", change)]).await.each[0].clone().unwrap()
    };
    let edited = |became, version, sequence| Edited { became, version, sequence };
    // What changes nothing makes no collection.
    assert_eq!(one(&bed.first, Change::Delete).await.became, Became::Absent);
    assert_eq!(one(&bed.first, Change::Keep).await.became, Became::Absent);
    assert!(bed.first.collections().await.unwrap().is_empty());

    assert_eq!(one(&bed.first, body("{\"n\":1}")).await, edited(Became::Created, 1, 0));
    assert_eq!(one(&bed.second, body("{\"n\":\"\u{e9}\"}")).await, edited(Became::Updated, 2, 1));
    assert_eq!(one(&bed.second, Change::Keep).await, edited(Became::Kept, 2, 1));
    let stored = bed.first.collection_document("state", "a").await.unwrap().unwrap();
    assert_eq!((stored.version, stored.sequence, stored.body.as_str()), (2, 1, "{\"n\":\"\u{e9}\"}"));
    assert_eq!(bed.first.collection_document("other", "a").await.unwrap(), None);
    adds_up(&bed.second).await;
    assert_eq!(one(&bed.first, Change::Delete).await, edited(Became::Deleted, 3, 2));
    assert_eq!(bed.second.collection_document("state", "a").await.unwrap(), None);
    // A number is never given again, so whoever has read the first cannot take the second for it.
    assert_eq!(one(&bed.first, body("{}")).await, edited(Became::Created, 1, 3));
    adds_up(&bed.first).await;
}

pub(crate) async fn a_decision_sees_what_came_before_it(bed: &Bed) {
    let more = |before: Option<&CollectionDocument>| {
        let text = before.map_or("", |before| before.body.as_str());
        if text.len() >= 2 { Err("long enough") } else { Ok(Change::Put(format!("{text}x"))) }
    };
    let longer = || -> (String, Decide<&'static str>) { ("a".to_owned(), Box::new(more)) };
    let all =
        edits(&bed.first, &WIDE, vec![longer(), longer(), longer(), edit("b", body("y")), longer()]).await;
    let versions: Vec<_> =
        all.each.iter().map(|one| one.clone().map(|one| (one.version, one.sequence))).collect();
    let refused = Err(NotEdited::Refused("long enough"));
    assert_eq!(versions, [Ok((1, 0)), Ok((2, 1)), refused.clone(), Ok((1, 2)), refused]);
    // What was refused takes nothing else with it.
    assert_eq!(ids(&bed.second).await, ["a".to_owned(), "b".to_owned()].into());
    adds_up(&bed.second).await;
}

pub(crate) async fn changes_of_two_are_numbered_once(bed: &Bed) {
    let counted = |before: Option<&CollectionDocument>| -> Result<Change, &'static str> {
        let count: u64 = before.map_or(0, |before| before.body.parse().unwrap());
        Ok(Change::Put((count + 1).to_string()))
    };
    let many = async |catalogue: &Catalogue| {
        let mut numbers = Vec::new();
        for _ in 0..20 {
            let decide: Decide<&'static str> = Box::new(counted);
            let all = edits(catalogue, &WIDE, vec![("a".to_owned(), decide)]).await;
            numbers.push(all.each[0].clone().unwrap().sequence);
        }
        numbers
    };
    let (mut one, other) = tokio::join!(many(&bed.first), many(&bed.second));
    one.extend(other);
    one.sort_unstable();
    assert_eq!(one, (0..40).collect::<Vec<u64>>());
    let stored = bed.first.collection_document("state", "a").await.unwrap().unwrap();
    assert_eq!((stored.body.as_str(), stored.version), ("40", 40));
    adds_up(&bed.first).await;
}

pub(crate) async fn what_has_changed_since_is_told(bed: &Bed) {
    let since = async |sequence: u64| {
        let (_, all) = bed.second.collection_since("state", sequence).await.unwrap().unwrap();
        all.into_iter().map(|one| (one.id, one.sequence)).collect::<Vec<_>>()
    };
    assert_eq!(bed.second.collection_since("state", 0).await.unwrap(), None);
    for id in ["b", "a", "c"] {
        put(&bed.first, "state", id, "{}").await;
    }
    let pair = |id: &str, sequence| (id.to_owned(), sequence);
    assert_eq!(since(0).await, [pair("b", 0), pair("a", 1), pair("c", 2)]);
    put(&bed.first, "state", "b", "{\"n\":1}").await;
    assert_eq!(since(3).await, [pair("b", 3)]);
    assert_eq!(since(0).await, [pair("a", 1), pair("c", 2), pair("b", 3)]);
    assert_eq!(since(4).await, []);
    assert_eq!(since(u64::MAX).await, []);
}

pub(crate) async fn a_full_collection_lets_old_documents_go_and_no_others(bed: &Bed) {
    let bounds = Bounds { documents: 3, bytes: 60, room_after: Some(Duration::from_hours(1)) };
    let put = async |id: &str, text: &str| edits(&bed.first, &bounds, vec![edit(id, body(text))]).await;
    for id in ["a", "b", "c"] {
        assert!(put(id, "{}").await.each[0].is_ok());
    }
    // Nothing in it is old.
    assert_eq!(put("d", "{}").await, Edits { each: vec![Err(NotEdited::Full)], let_go: 0 });
    assert_eq!(ids(&bed.first).await.len(), 3);
    adds_up(&bed.first).await;
    bed.clock.advance(Duration::from_hours(2));
    // Nor does it matter where nobody has said that old ones may go.
    let strict = Bounds { room_after: None, ..bounds };
    let refused = edits(&bed.first, &strict, vec![edit("d", body("{}")), edit("a", body("{ }"))]).await;
    assert_eq!((&refused.each[0], refused.let_go), (&Err(NotEdited::Full), 0));
    assert!(refused.each[1].is_ok(), "{refused:?}");
    bed.clock.advance(Duration::from_hours(2));
    // What is written is not what goes, though it was written longest ago; then it is the youngest.
    assert!(put("a", "{\"n\":1}").await.each[0].is_ok());
    let made = put("d", "{}").await;
    assert_eq!((made.each[0].clone().unwrap().became, made.let_go), (Became::Created, 1));
    assert_eq!(ids(&bed.first).await, ["a", "c", "d"].map(str::to_owned).into());
    adds_up(&bed.first).await;
    // By size, too.
    let made = put("e", &"x".repeat(40)).await;
    assert_eq!((made.each[0].is_ok(), made.let_go), (true, 1));
    assert_eq!(ids(&bed.first).await, ["a", "d", "e"].map(str::to_owned).into());
    assert_eq!(put("d", &"x".repeat(40)).await.each, [Err(NotEdited::Full)]);
    assert_eq!(bed.first.collection_document("state", "d").await.unwrap().unwrap().body, "{}");
    adds_up(&bed.first).await;
}

pub(crate) async fn a_collection_that_is_deleted_is_gone(bed: &Bed) {
    put(&bed.first, "state", "a", "{}").await;
    put(&bed.first, "other", "a", "{}").await;
    assert!(!bed.first.is_new().await.unwrap());
    assert!(bed.second.delete_collection("state").await.unwrap());
    assert!(!bed.second.delete_collection("state").await.unwrap());
    assert_eq!(bed.first.collection_since("state", 0).await.unwrap(), None);
    assert_eq!(bed.first.collections().await.unwrap().len(), 1);
    bed.clock.advance(Duration::from_secs(1));
    put(&bed.first, "state", "b", "{}").await;
    assert_eq!(ids(&bed.second).await, ["b".to_owned()].into());
    let (collection, _) = bed.second.collection_since("state", 0).await.unwrap().unwrap();
    assert_eq!(collection.next_sequence, 1);
}
