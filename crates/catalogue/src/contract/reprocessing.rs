//! Shards that are made again of what the topic says: what waits, what becomes of it, and the receipts.

use super::{
    Bed, GROUP, TOPIC, everything,
    merging::{at, publish_three, refused, replacement},
};
use crate::{
    Catalogue, Refusal, ReplaceError, Replacement, Reprocessing, ReprocessingRequest, TrailEntry, TrailEvent,
    TrailShard, verify_trail,
};
use millrace_model::{Clock, Partition, ShardId, ShardMeta, StreamName, TimeRange};
use std::time::Duration;

pub(crate) fn everything_live() -> ReprocessingRequest {
    ReprocessingRequest { group: GROUP.to_owned(), stream: None, range: TimeRange::ALL, shards: Vec::new() }
}

async fn waiting(catalogue: &Catalogue) -> Vec<(u64, ShardId)> {
    let waiting = catalogue.reprocessable(GROUP, 100).await.unwrap();
    waiting.into_iter().map(|(number, shard)| (number, shard.id)).collect()
}

/// What a reprocessing of one shard comes to.
fn made_again(number: u64, shard: &ShardMeta) -> Replacement {
    Replacement { reprocessing: Some(number), ..replacement(std::slice::from_ref(shard)) }
}

async fn receipt(catalogue: &Catalogue, number: u64) -> Reprocessing {
    let all = catalogue.reprocessings(GROUP).await.unwrap();
    all.into_iter().find(|one| one.number == number).unwrap()
}

pub(crate) async fn what_is_made_again_is_counted_and_in_the_trail(bed: &Bed) {
    let shards = publish_three(bed).await;
    let asked = bed.first.request_reprocessing(&everything_live()).await.unwrap().unwrap();
    assert_eq!((asked.number, asked.asked, asked.waiting, asked.shards, asked.refused), (1, 3, 3, 0, 0));
    assert_eq!((asked.stream.clone(), asked.requested, asked.finished), (None, bed.clock.now(), None));
    let ids: Vec<_> = shards.iter().map(|shard| (1, shard.id)).collect();
    assert_eq!(waiting(&bed.second).await, ids);
    let first = bed.second.reprocessable(GROUP, 1).await.unwrap();
    assert_eq!(first, [(1, shards[0].clone())], "the oldest first");
    assert_eq!(waiting(&bed.first).await.len(), 3);
    assert!(bed.second.finish_reprocessings(GROUP).await.unwrap().is_empty());

    let done = made_again(1, &shards[1]);
    bed.first.replace(&done).await.unwrap();
    let after = receipt(&bed.second, 1).await;
    assert_eq!((after.shards, after.records, after.waiting, after.finished), (1, 10, 2, None));
    assert_eq!(waiting(&bed.second).await, [ids[0], ids[2]]);
    let trail = bed.second.trail(GROUP, TOPIC, Partition(0), 0, 100).await.unwrap();
    verify_trail(&trail).unwrap();
    let event = serde_json::from_str::<TrailEntry>(&trail.last().unwrap().entry).unwrap().event;
    let added = vec![TrailShard::from(&done.added[0])];
    let (stream, removed) = (StreamName::default(), vec![shards[1].id]);
    assert_eq!(event, TrailEvent::Reprocessed { number: 1, stream, removed, added });
    assert_eq!(bed.second.verify(GROUP).await.unwrap().faults, []);

    // The same again after a lost answer counts nothing twice.
    let again = bed.second.replace(&done).await.unwrap_err();
    assert!(matches!(again, ReplaceError::Duplicate { .. }), "{again:?}");
    assert_eq!(receipt(&bed.first, 1).await, after);
    for shard in [&shards[0], &shards[2]] {
        bed.second.replace(&made_again(1, shard)).await.unwrap();
    }
    bed.clock.advance(Duration::from_secs(1));
    let finished = bed.first.finish_reprocessings(GROUP).await.unwrap();
    assert_eq!(finished, [receipt(&bed.second, 1).await]);
    let last = &finished[0];
    assert_eq!((last.shards, last.records, last.waiting), (3, 35, 0));
    assert_eq!(last.finished, Some(bed.clock.now()));
    assert!(bed.first.finish_reprocessings(GROUP).await.unwrap().is_empty(), "it ends once");
}

pub(crate) async fn a_shard_that_waits_hands_its_place_to_what_it_became(bed: &Bed) {
    let shards = publish_three(bed).await;
    bed.first.request_reprocessing(&everything_live()).await.unwrap().unwrap();
    let only = ReprocessingRequest { shards: vec![shards[1].id], ..everything_live() };
    let second = bed.second.request_reprocessing(&only).await.unwrap().unwrap();
    assert_eq!((second.number, second.asked), (2, 1));
    let merge = replacement(&shards[..2]);
    bed.first.replace(&merge).await.unwrap();
    let became = merge.added[0].clone();
    assert_eq!(waiting(&bed.second).await, [(1, became.id), (1, shards[2].id), (2, became.id)]);

    // What the first made is what the second is about.
    let first = made_again(1, &became);
    bed.second.replace(&first).await.unwrap();
    assert_eq!(waiting(&bed.first).await, [(1, shards[2].id), (2, first.added[0].id)]);
    assert_eq!((receipt(&bed.first, 1).await.shards, receipt(&bed.first, 2).await.shards), (1, 0));

    // A purge that left nothing.
    let emptied = Replacement { added: vec![], deleted: vec![(1, 15)], ..replacement(&shards[2..]) };
    bed.first.replace(&emptied).await.unwrap();
    assert_eq!(waiting(&bed.first).await, [(2, first.added[0].id)]);
    let finished = bed.first.finish_reprocessings(GROUP).await.unwrap();
    assert_eq!(finished.iter().map(|one| one.number).collect::<Vec<_>>(), [1]);
}

pub(crate) async fn what_is_refused_or_expires_does_not_wait(bed: &Bed) {
    let shards = publish_three(bed).await;
    bed.first.request_reprocessing(&everything_live()).await.unwrap().unwrap();
    bed.first.refuse_reprocessing(1, shards[1].id, "the topic has forgotten").await.unwrap();
    bed.second.refuse_reprocessing(1, shards[1].id, "another reason").await.unwrap();
    bed.second.refuse_reprocessing(1, ShardId::random(), "nobody waits").await.unwrap();
    let after = receipt(&bed.second, 1).await;
    let refusal = Refusal { shard: shards[1].id, problem: "the topic has forgotten".to_owned() };
    assert_eq!((after.waiting, after.refused, after.refusals), (2, 1, vec![refusal.clone()]));
    let oldest = shards[0].last.plus(Duration::from_nanos(1));
    assert_eq!(bed.first.expire(GROUP, &StreamName::default(), oldest).await.unwrap().len(), 1);
    assert_eq!(waiting(&bed.second).await, [(1, shards[2].id)]);
    let late = bed.first.replace(&made_again(1, &shards[0])).await.unwrap_err();
    assert!(matches!(late, ReplaceError::Gone { .. }), "what has expired does not come back: {late:?}");

    bed.first.replace(&made_again(1, &shards[2])).await.unwrap();
    let finished = bed.second.finish_reprocessings(GROUP).await.unwrap();
    assert_eq!((finished.len(), finished[0].shards, finished[0].waiting), (1, 1, 0));
    assert_eq!(finished[0].refusals, [refusal]);
    assert_eq!(bed.second.verify(GROUP).await.unwrap().faults, []);
}

pub(crate) async fn only_live_shards_that_fit_are_asked_for(bed: &Bed) {
    let shards = publish_three(bed).await;
    let before = everything(&bed.second).await;
    let other = ReprocessingRequest { stream: Some("app".parse().unwrap()), ..everything_live() };
    let later = TimeRange { from: shards[2].last.plus(Duration::from_nanos(1)), ..TimeRange::ALL };
    let later = ReprocessingRequest { range: later, ..everything_live() };
    let earlier = TimeRange { to: shards[0].first, ..TimeRange::ALL };
    let earlier = ReprocessingRequest { range: earlier, ..everything_live() };
    let unknown = ReprocessingRequest { shards: vec![ShardId::random()], ..everything_live() };
    let detect = ReprocessingRequest { group: "detect".to_owned(), ..everything_live() };
    for request in [other, later, earlier, unknown, detect] {
        assert_eq!(bed.first.request_reprocessing(&request).await.unwrap(), None, "{request:?}");
    }
    assert_eq!(everything(&bed.second).await, before);
    assert!(bed.second.reprocessings(GROUP).await.unwrap().is_empty());

    let range = TimeRange { from: at(2_050), to: at(2_051) };
    let stream = Some(StreamName::default());
    let some = ReprocessingRequest { stream: stream.clone(), range, ..everything_live() };
    let asked = bed.first.request_reprocessing(&some).await.unwrap().unwrap();
    assert_eq!((asked.asked, asked.stream, asked.range), (1, stream, range));
    assert_eq!(waiting(&bed.second).await, [(1, shards[1].id)]);
    // More ids than one statement names.
    let mut many: Vec<ShardId> = (0..1_200).map(|_| ShardId::random()).collect();
    many.extend([shards[0].id, shards[2].id, shards[2].id]);
    let many = ReprocessingRequest { shards: many, ..everything_live() };
    assert_eq!(bed.first.request_reprocessing(&many).await.unwrap().unwrap().asked, 2);

    let lossy = Replacement { deleted: vec![(1, 1)], ..made_again(2, &shards[0]) };
    let before = everything(&bed.second).await;
    let error = refused(bed, &lossy, &before).await;
    assert!(matches!(error, ReplaceError::Contradiction { .. }), "{error:?}");
}
