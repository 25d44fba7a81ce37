//! How long records live: bounds of size, holds, deletions by query.

use super::{
    Bed, GROUP, TOPIC, cut,
    merging::{at, merged, publish, replacement},
    own, shard, step,
};
use crate::{
    Catalogue, Cut, Deletion, DeletionRequest, Error, ReplaceError, Replacement, StreamFields, StreamTier,
    StreamUsage, TrailEntry, TrailEvent, verify_trail,
};
use millrace_model::{
    Declarations, FieldType, Partition, ShardFields, ShardId, ShardMeta, StreamName, TimeRange, Timestamp,
};
use std::{collections::BTreeMap, time::Duration};

fn stream() -> StreamName {
    StreamName::default()
}

async fn live(catalogue: &Catalogue) -> Vec<ShardId> {
    let snapshot = catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
    snapshot.shards.iter().map(|shard| shard.id).collect()
}

async fn last_event(catalogue: &Catalogue) -> TrailEvent {
    let trail = catalogue.trail(GROUP, TOPIC, Partition(0), 0, 1_000).await.unwrap();
    verify_trail(&trail).unwrap();
    serde_json::from_str::<TrailEntry>(&trail.last().unwrap().entry).unwrap().event
}

fn ids(shards: &[ShardMeta]) -> Vec<ShardId> {
    shards.iter().map(|shard| shard.id).collect()
}

pub(crate) async fn the_oldest_shards_end_when_a_stream_outgrows_its_bound(bed: &Bed) {
    // Each takes 4,096 bytes.
    let mut owned = own(&bed.first, 0, "a").await;
    let mut shards = publish(&bed.first, &mut owned, &[10, 20, 30]).await;
    let mut next = cut(step(&owned, 40));
    (next.shards[0].first, next.shards[0].last) = (at(4_000), at(4_099));
    next.bounds = BTreeMap::from([(stream(), 3 * 4_096), ("other".parse().unwrap(), 1)]);
    let ended = bed.first.publish(&next).await.unwrap();
    assert_eq!(ended, shards[..1], "there is room for three");
    shards.append(&mut next.shards);
    assert_eq!(live(&bed.second).await, ids(&shards[1..]));
    let event = last_event(&bed.second).await;
    let expected = TrailEvent::Outgrown { stream: stream(), bytes: 3 * 4_096, shards: ids(&shards[..1]) };
    assert_eq!(event, expected);

    // A bound that was lowered, with no publish that would enforce it; one that nothing fits in.
    assert_eq!(bed.second.expire_beyond(GROUP, &stream(), 3 * 4_096).await.unwrap(), []);
    assert_eq!(bed.second.expire_beyond(GROUP, &stream(), 3 * 4_096 - 1).await.unwrap(), shards[1..2]);
    assert_eq!(bed.second.expire_beyond(GROUP, &stream(), 4_095).await.unwrap(), shards[2..]);
    assert_eq!(live(&bed.second).await, []);
    verify_trail(&bed.second.trail(GROUP, TOPIC, Partition(0), 0, 100).await.unwrap()).unwrap();
}

pub(crate) async fn nothing_ends_in_a_stream_on_hold(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let shards = publish(&bed.first, &mut owned, &[10, 20]).await;
    bed.first.hold(GROUP, &stream(), "case 17").await.unwrap();
    bed.clock.advance(Duration::from_secs(1));
    bed.second.hold(GROUP, &stream(), "case 18").await.unwrap();
    let holds = bed.second.holds(GROUP).await.unwrap();
    assert_eq!((holds.len(), holds[0].reason.as_str()), (1, "case 17"));
    assert!(bed.second.holds("detect").await.unwrap().is_empty());

    assert_eq!(bed.second.expire(GROUP, &stream(), Timestamp::MAX).await.unwrap(), []);
    assert_eq!(bed.second.expire_beyond(GROUP, &stream(), 0).await.unwrap(), []);
    let mut next = cut(step(&owned, 30));
    next.bounds = BTreeMap::from([(stream(), 0)]);
    assert_eq!(bed.first.publish(&next).await.unwrap(), []);
    let refused = bed.first.request_deletion(&deletion("a")).await.unwrap_err();
    assert!(matches!(refused, Error::Held { .. }), "{refused:?}");
    bed.first.replace(&replacement(&shards)).await.unwrap();
    assert_eq!(live(&bed.second).await.len(), 2, "merging goes on");

    assert!(bed.second.end_hold(GROUP, &stream()).await.unwrap());
    assert!(!bed.second.end_hold(GROUP, &stream()).await.unwrap());
    assert_eq!(bed.second.expire(GROUP, &stream(), Timestamp::MAX).await.unwrap().len(), 2);
}

fn deletion(filter: &str) -> DeletionRequest {
    DeletionRequest {
        group: GROUP.to_owned(),
        stream: stream(),
        filter: filter.to_owned(),
        filter_sha256: "cd".repeat(32),
        range: TimeRange::ALL,
        reason: "asked by the person".to_owned(),
    }
}

/// The numbers of the deletions that apply to each live shard.
async fn applying(catalogue: &Catalogue) -> Vec<Vec<u64>> {
    let snapshot = catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
    let of = |shard: &ShardMeta| {
        let concerns =
            |deletion: &&Deletion| deletion.number > shard.deletions && deletion.stream == shard.stream;
        snapshot.deletions.iter().filter(concerns).map(|deletion| deletion.number).collect()
    };
    snapshot.shards.iter().map(of).collect()
}

pub(crate) async fn a_deletion_reaches_what_was_published_before_it(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    publish(&bed.first, &mut owned, &[10]).await;
    let first = bed.second.request_deletion(&deletion("user:ann")).await.unwrap();
    assert_eq!((first.number, first.shards_left, first.records, first.purged), (1, 1, 0, None));
    assert_eq!(first.filter.as_deref(), Some("user:ann"));
    let event = last_event(&bed.second).await;
    assert!(matches!(event, TrailEvent::DeletionRequested { number: 1, .. }), "{event:?}");
    publish(&bed.first, &mut owned, &[20]).await;
    // Of another time, another stream: they are asked for all the same, and concern nothing.
    let range = TimeRange { from: at(900_000), to: at(900_001) };
    bed.second.request_deletion(&DeletionRequest { range, ..deletion("b") }).await.unwrap();
    let other = DeletionRequest { stream: "other".parse().unwrap(), ..deletion("c") };
    assert_eq!(bed.second.request_deletion(&other).await.unwrap().shards_left, 0);
    assert_eq!(applying(&bed.first).await, [vec![1, 2], vec![2]]);
    let purgeable = bed.first.purgeable(GROUP, 10).await.unwrap();
    assert_eq!(ids(&purgeable), live(&bed.first).await[..1]);
    let numbers = |deletions: Vec<Deletion>| deletions.iter().map(|d| d.number).collect::<Vec<_>>();
    assert_eq!(numbers(bed.first.deletions(GROUP).await.unwrap()), [3, 2, 1]);
    assert!(bed.first.deletions("detect").await.unwrap().is_empty());
    assert_eq!(
        numbers(bed.first.finish_deletions(GROUP).await.unwrap()).len(),
        2,
        "there is nothing for two of them"
    );
}

pub(crate) async fn a_deletion_ends_when_no_shard_is_left_for_it(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let shards = publish(&bed.first, &mut owned, &[10, 20, 30]).await;
    bed.first.request_deletion(&deletion("user:ann")).await.unwrap();
    // The first is rewritten without three records, the second has none, of the third nothing is left.
    let rewritten = ShardMeta { records: 7, deletions: 1, ..merged(&shards[..1]) };
    let purge = Replacement { added: vec![rewritten], deleted: vec![(1, 3)], ..replacement(&shards[..1]) };
    bed.first.replace(&purge).await.unwrap();
    bed.second.pass_deletions(shards[1].id, 1).await.unwrap();
    bed.second.pass_deletions(shards[1].id, 99).await.unwrap();
    assert_eq!(
        applying(&bed.first).await,
        [vec![], vec![], vec![1]],
        "nobody has been through what is not there"
    );
    let all = Replacement { added: vec![], deleted: vec![(1, 10)], ..replacement(&shards[2..]) };
    bed.first.replace(&all).await.unwrap();
    assert!(bed.first.purgeable(GROUP, 10).await.unwrap().is_empty());

    // The bundles of the shards that ended are still there.
    assert!(bed.first.finish_deletions(GROUP).await.unwrap().is_empty());
    assert_eq!(bed.first.deletions(GROUP).await.unwrap()[0].shards_left, 2);
    bed.first.forget(&[shards[0].id, shards[2].id]).await.unwrap();
    let ended = bed.first.finish_deletions(GROUP).await.unwrap();
    assert_eq!(ended, bed.second.deletions(GROUP).await.unwrap());
    let receipt = &ended[0];
    assert_eq!((receipt.records, receipt.shards_left, receipt.filter.as_ref()), (13, 0, None));
    assert!(receipt.purged.is_some() && receipt.filter_sha256 == "cd".repeat(32));
    assert!(bed.first.finish_deletions(GROUP).await.unwrap().is_empty(), "it ends once");
    assert!(bed.first.snapshot(GROUP, TimeRange::ALL, None).await.unwrap().deletions.is_empty());
    verify_trail(&bed.second.trail(GROUP, TOPIC, Partition(0), 0, 100).await.unwrap()).unwrap();
}

pub(crate) async fn a_shard_does_not_pass_a_deletion_by_being_merged(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let mut shards = publish(&bed.first, &mut owned, &[10]).await;
    bed.first.request_deletion(&deletion("user:ann")).await.unwrap();
    let mut later = publish(&bed.first, &mut owned, &[20]).await;
    let mergeable = bed.second.mergeable(GROUP, 2).await.unwrap();
    assert_eq!(ids(&mergeable), ids(&later), "what waits to be purged is not merged with what must not be");
    later[0].deletions = 1;
    shards.append(&mut later);
    // A merge that was planned before the deletion: what comes of it is to be purged.
    let claims =
        Replacement { added: vec![ShardMeta { deletions: 1, ..merged(&shards) }], ..replacement(&shards) };
    let refused = bed.first.replace(&claims).await.unwrap_err();
    assert!(matches!(refused, ReplaceError::Contradiction { .. }), "{refused:?}");
    bed.first.replace(&replacement(&shards)).await.unwrap();
    assert_eq!(applying(&bed.second).await, [vec![1]]);
}

pub(crate) async fn usage_adds_up(bed: &Bed) {
    assert!(bed.first.stream_usage(GROUP).await.unwrap().is_empty());
    let owned = own(&bed.first, 0, "a").await;
    let step = step(&owned, 10);
    let of = |stream: &str, first, last| ShardMeta {
        stream: stream.parse().unwrap(),
        first: at(first),
        last: at(last),
        ..shard(&step)
    };
    let shards = vec![of("web", 5, 9), of("app", 1, 7), of("app", 3, 8), of("app", 0, 1)];
    bed.first.publish(&Cut { shards, ..cut(step) }).await.unwrap();
    bed.first.expire(GROUP, &"app".parse().unwrap(), at(2)).await.unwrap();
    let usage = |stream: &str, shards, first, last| StreamUsage {
        stream: stream.parse().unwrap(),
        shards,
        records: shards * 10,
        bytes: shards * 4_096,
        first: at(first),
        last: at(last),
    };
    assert_eq!(bed.second.stream_usage(GROUP).await.unwrap(), [usage("app", 2, 1, 8), usage("web", 1, 5, 9)]);
}

pub(crate) async fn what_merges_made_is_told_from_what_was_sealed(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let shards = publish(&bed.first, &mut owned, &[10, 20, 30]).await;
    let replacement = replacement(&shards[..2]);
    bed.first.replace(&replacement).await.unwrap();
    let tier = |merged, bytes| StreamTier { stream: stream(), merged, shards: 1, bytes };
    let mut tiers = bed.second.stream_tiers(GROUP).await.unwrap();
    tiers.sort_by_key(|tier| tier.merged);
    assert_eq!(tiers, [tier(false, shards[2].bytes), tier(true, replacement.added[0].bytes)]);
    assert!(bed.second.stream_tiers("detect").await.unwrap().is_empty());
}

pub(crate) async fn what_is_said_of_fields_is_kept_and_adds_up(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let before = publish(&bed.first, &mut owned, &[10]).await;
    let declared: Declarations = [("größe".to_owned(), FieldType::Number)].into_iter().collect();
    let conflicts = BTreeMap::from([("größe".to_owned(), 3)]);
    let fields = ShardFields { declared: vec![declared.clone()], conflicts: conflicts.clone(), beyond: 2 };
    let mut next = cut(step(&owned, 20));
    next.shards = vec![ShardMeta { fields: fields.clone(), ..next.shards[0].clone() }; 2];
    next.shards[1].id = ShardId::random();
    bed.first.publish(&next).await.unwrap();
    let snapshot = bed.second.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
    let mut kept: Vec<&ShardFields> = snapshot.shards.iter().map(|shard| &shard.fields).collect();
    kept.sort_by_key(|fields| fields.beyond);
    assert_eq!(kept, [&ShardFields::default(), &fields, &fields]);

    let said = |none, some| StreamFields {
        declared: BTreeMap::from([(Declarations::default(), none), (declared.clone(), some)]),
        conflicts: BTreeMap::from([("größe".to_owned(), 6)]),
        beyond: 4,
    };
    assert_eq!(bed.second.stream_fields(GROUP).await.unwrap(), BTreeMap::from([(stream(), said(1, 2))]));
    let all: Vec<ShardMeta> = before.into_iter().chain(next.shards).collect();
    let mut replacement = replacement(&all);
    replacement.added[0].fields = ShardFields::union(all.iter().map(|shard| &shard.fields));
    bed.first.replace(&replacement).await.unwrap();
    assert_eq!(bed.second.stream_fields(GROUP).await.unwrap(), BTreeMap::from([(stream(), said(1, 1))]));
    assert!(bed.second.stream_fields("detect").await.unwrap().is_empty());
}
