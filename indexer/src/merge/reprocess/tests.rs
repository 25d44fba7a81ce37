//! Shards that are lost, damaged or sound are made again of a real topic, or refused.

mod site;

use super::{ASIDE, Merger, Pass, from_topic};
use crate::{GROUP, Parts, merge::LEASE, publish, settings::Keep};
use from_topic::Made;
use millrace_catalogue::{Acquisition, DeletionRequest};
use millrace_model::{
    BootId, SourceId, StreamName, TimeRange, Timestamp, TopicId,
    wire::{Letter, plain, revived},
};
use site::{NOW, P, Site, Source, ago, merger, record};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn lines(of: &str, many: u64) -> Vec<(Timestamp, String)> {
    let time = |at: u64| ago(Duration::from_secs(600 - at));
    (0..many).map(|at| (time(at), format!("{of} line {at} of user{}", at % 3))).collect()
}

fn borrowed(lines: &[(Timestamp, String)]) -> Vec<(Timestamp, &str)> {
    lines.iter().map(|(time, line)| (*time, line.as_str())).collect()
}

impl Site {
    /// Sends so many lines of a source, in one message; returns its offset.
    async fn write(&mut self, source: &mut Source, of: &str, many: u64) -> i64 {
        let batch = source.batch(&borrowed(&lines(of, many)), NOW);
        self.send(&batch).await
    }
}

#[tokio::test]
async fn shards_that_are_lost_damaged_or_sound_hold_what_they_held() {
    let mut site = Site::new().await;
    let (mut app, mut web) = (Source::new(1, "app"), Source::new(2, "web"));
    let mut shards = Vec::new();
    for round in 0..4 {
        site.write(&mut app, &format!("app{round}"), 30).await;
        site.write(&mut web, &format!("web{round}"), 20).await;
        shards.extend(site.cut().await);
    }
    let before = site.records().await;
    assert_eq!((shards.len(), before.len()), (8, 200));
    site.lose(&shards[0]);
    site.lose(&shards[3]);
    site.damage(&shards[4], true);
    site.damage(&shards[5], false);
    let receipt = site.reprocess(&[]).await;
    assert_eq!((receipt.asked, receipt.shards, receipt.records, receipt.refused), (8, 8, 200, 0));
    assert_eq!(site.records().await, before);
    let live = site.live().await;
    assert!(live.iter().all(|new| new.rewrites == 1 && shards.iter().all(|old| old.id != new.id)));
    assert_eq!(site.reprocessed().await, [1; 8]);
    assert_eq!(site.parts.metrics.reprocessed_shards.get(), 8);

    // And once more: the second epoch is about what the first made.
    site.lose(&live[2]);
    let receipt = site.reprocess(&[&live[2]]).await;
    assert_eq!((receipt.number, receipt.shards), (2, 1));
    assert_eq!(site.records().await, before);
}

#[tokio::test]
async fn a_merged_shard_is_made_again_in_pieces() {
    let mut site = Site::new().await;
    let (mut app, mut web) = (Source::new(1, "app"), Source::new(2, "web"));
    for round in 0..30 {
        site.write(&mut app, &format!("app{round}"), 40).await;
        if round % 3 == 0 {
            site.write(&mut web, &format!("web{round}"), 5).await;
        }
        site.cut().await;
    }
    site.work().await;
    let live = site.live().await;
    let merged = live.iter().find(|shard| shard.records == 1_200).unwrap().clone();
    assert_eq!((live.len(), merged.rewrites), (11, 1));
    let before = site.records().await;
    site.set(|settings| settings.seal_bytes = 4_096);
    for lost in [true, false] {
        let merged = site.live().await.into_iter().find(|shard| shard.records == 1_200).unwrap();
        if lost {
            site.lose(&merged);
        }
        site.assert_made_again(&merged, &before).await;
    }
    let new = site.live().await.into_iter().find(|shard| shard.records == 1_200).unwrap();
    assert_eq!((&new.offsets, new.bucket), (&merged.offsets, merged.bucket));
    site.merger.limits.records = 1_199;
    site.assert_refused(&new, "it holds 1200 records; up to 1199").await;
}

#[tokio::test]
async fn what_was_deleted_does_not_come_back() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    site.write(&mut app, "app", 30).await;
    site.cut().await;
    let request = DeletionRequest {
        group: GROUP.to_owned(),
        stream: app.stream.clone(),
        filter: "user1".to_owned(),
        filter_sha256: "ab".repeat(32),
        range: TimeRange::ALL,
        reason: String::new(),
    };
    site.parts.catalogue.request_deletion(&request).await.unwrap();
    site.work().await;
    site.clock.advance(site.settings.expired_grace + Duration::from_secs(1));
    let (grace, streams) = (site.settings.expired_grace, site.settings.streams.clone());
    crate::retention::once(&site.parts, &streams, grace).await.unwrap();
    assert_eq!(
        site.parts.catalogue.deletions(GROUP).await.unwrap()[0].filter,
        None,
        "nobody knows it any more"
    );
    let before = site.records().await;
    assert_eq!(before.len(), 20);
    let purged = site.live().await.remove(0);
    site.assert_made_again(&purged, &before).await;
    let again = site.live().await.remove(0);
    assert_eq!(again.deletions, purged.deletions);
    site.lose(&again);
    site.assert_refused(&again, "gives 30 records where it held 20").await;
}

#[tokio::test]
async fn what_expired_beside_it_does_not_come_back() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    let old = ago(3 * DAY);
    let batch = app.batch(&[(old, "long ago"), (NOW, "now"), (NOW.minus(HOUR), "lately")], NOW);
    site.send(&batch).await;
    let shards = site.cut().await;
    assert_eq!(shards.len(), 2);
    let expired = site.parts.catalogue.expire(GROUP, &app.stream, ago(DAY)).await.unwrap();
    assert_eq!(expired, shards[..1]);
    let before = site.records().await;
    site.assert_made_again(&shards[1], &before).await;
    assert_eq!(before.len(), 2);
}

#[tokio::test]
async fn what_came_twice_is_told_apart_by_ids_alone() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    let first = app.batch(&borrowed(&lines("first", 10)), NOW);
    site.send(&first).await;
    let before_it = site.cut().await;
    // The agent was killed, and sends it again.
    site.send(&first).await;
    site.write(&mut app, "second", 10).await;
    let shard = site.cut().await.remove(0);
    let before = site.records().await;
    assert_eq!((before.len(), shard.records), (20, 10));
    site.assert_made_again(&shard, &before).await;
    let again = site.live().await.into_iter().find(|live| live.id != before_it[0].id).unwrap();
    site.lose(&again);
    site.assert_refused(&again, "gives 20 records where it held 10").await;
}

#[tokio::test]
async fn a_large_bundle_that_is_damaged_where_records_lie_still_tells_their_ids() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    let first = app.batch(&borrowed(&lines("first", 10)), NOW);
    site.send(&first).await;
    site.cut().await;
    // By count it could not be proved.
    site.send(&first).await;
    let noise = |at: u128| at.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let noise: Vec<_> =
        (1..6_000).map(|at| (NOW, format!("{:032x}", noise(at) ^ (noise(at) >> 61)))).collect();
    let batch = app.batch(&borrowed(&noise), NOW);
    site.send(&batch).await;
    let shard = site.cut().await.remove(0);
    let before = site.records().await;
    site.damage(&shard, false);
    site.assert_made_again(&shard, &before).await;
}

#[tokio::test]
async fn what_a_quota_holds_back_stays_back() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    site.write(&mut app, "first", 10).await;
    let held = app.batch(&borrowed(&lines("held", 5)), NOW);
    let offset = site.send(&held).await;
    site.held.insert(offset);
    let first = site.cut().await.remove(0);
    let before = site.records().await;
    assert_eq!(before.len(), 10);
    site.lose(&first);
    site.assert_made_again(&first, &before).await;

    // It is sent again, and taken in.
    let letter =
        Letter { topic: "t".to_owned(), topic_id: Some(site.topic_id), partition: P, offset: Some(offset) };
    site.send(&revived(held, &letter)).await;
    let second = site.cut().await.remove(0);
    let before = site.records().await;
    assert_eq!((before.len(), second.records), (15, 5));
    let receipt = site.reprocess(&[]).await;
    assert_eq!((receipt.shards, receipt.refused), (2, 0), "{receipt:?}");
    assert_eq!(site.records().await, before);
    for shard in site.live().await {
        site.lose(&shard);
        let reason =
            if shard.records == 5 { "was a dead letter once" } else { "gives 15 records where it held 10" };
        site.assert_refused(&shard, reason).await;
    }
}

#[tokio::test]
async fn messages_that_nobody_can_read_are_known_as_dead_letters() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    site.write(&mut app, "first", 10).await;
    let mut broken = app.batch(&borrowed(&lines("broken", 5)), NOW);
    broken.value = b"\xff\xff\xff".to_vec().into();
    site.send(&broken).await;
    let mut nameless = broken.clone();
    nameless.headers.clear();
    site.send(&nameless).await;
    site.write(&mut app, "last", 10).await;
    let shard = site.cut().await.remove(0);
    let before = site.records().await;
    assert_eq!(before.len(), 20);
    site.lose(&shard);
    site.assert_made_again(&shard, &before).await;
}

#[tokio::test]
async fn a_shard_of_many_buckets_and_records_whose_time_is_in_doubt() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    for day in (0..27).rev() {
        let batch = app.batch(&[(ago(DAY * day), "backfill")], NOW);
        site.send(&batch).await;
    }
    let shards = site.cut().await;
    let (late, newest) = (&shards[0], &shards[shards.len() - 1]);
    assert_eq!((late.bucket, late.records > 1, newest.last), (None, true, NOW));
    let before = site.records().await;
    site.lose(late);
    site.assert_made_again(late, &before).await;
    // Under a shorter retention those that were observed then would have been sorted by that.
    site.assert_made_again(newest, &before).await;
    let newest = site.live().await.pop().unwrap();
    site.lose(&newest);
    site.assert_refused(&newest, "could have had another time").await;
}

#[tokio::test]
async fn a_time_that_another_retention_believes_moves_no_record() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    let batch = app.batch(&[(ago(40 * DAY), "old"), (NOW, "new")], NOW);
    site.send(&batch).await;
    let shard = site.cut().await.remove(0);
    assert_eq!((shard.records, shard.first), (2, NOW), "nobody keeps anything for so long");
    site.set(|settings| settings.streams.others = Keep { age: 100 * DAY, bytes: None });
    site.assert_refused(&shard, "not this shard's time").await;
    site.lose(&shard);
    site.assert_refused(&shard, "could have had another time").await;
}

#[tokio::test]
async fn two_senders_of_one_source_are_told_apart_by_ids_alone() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    site.write(&mut app, "first", 10).await;
    app.sender.boot = BootId(2);
    site.write(&mut app, "clone", 10).await;
    let shard = site.cut().await.remove(0);
    let before = site.records().await;
    assert_eq!(before.keys().filter(|id| id.source != SourceId(1)).count(), 10);
    site.assert_made_again(&shard, &before).await;
    let again = site.live().await.remove(0);
    site.lose(&again);
    site.assert_refused(&again, "two senders have claimed source").await;
}

#[tokio::test]
async fn a_flag_that_only_the_past_can_set_is_not_lost() {
    let mut site = Site::new().await;
    let app = Source::new(1, "app");
    site.send(&app.batch_at(0, &[(NOW, "first line")], NOW)).await;
    site.cut().await;
    site.send(&app.batch_at(5, &[(NOW, "line that straddles")], NOW)).await;
    let shard = site.cut().await.remove(0);
    site.assert_refused(&shard, "flagged as reframed").await;
}

#[tokio::test]
async fn messages_of_others_are_made_again() {
    let mut site = Site::new().await;
    let app: StreamName = "app".parse().unwrap();
    for round in 0..3 {
        let records =
            [record(NOW, "a line", NOW), record(ago(HOUR), &format!("round {round}"), Timestamp(0))];
        site.send(&plain(Some(&app), &records)).await;
        site.send(&plain(None, &records[..1])).await;
    }
    let shards = site.cut().await;
    let before = site.records().await;
    assert_eq!(before.len(), 9);
    for shard in &shards {
        site.lose(shard);
    }
    let receipt = site.reprocess(&[]).await;
    assert_eq!((receipt.shards, receipt.records), (shards.len() as u64, 9), "{receipt:?}");
    assert_eq!(site.records().await, before);
}

#[tokio::test]
async fn another_topic_gives_nothing() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    site.write(&mut app, "first", 10).await;
    let shard = site.cut().await.remove(0);
    // A node whose topic is a new one, of the same name.
    let other = Arc::new(Parts::in_folder(site.folder.path(), "b", site.clock.clone()).await);
    site.merger = merger(&other, &site.settings);
    site.assert_refused(&shard, "has nothing at offset 1 of partition 0").await;
    let new = TopicId(site.topic_id.0 ^ 1);
    let wanted = Acquisition { partition: P, topic_id: Some(new), low: 0 };
    site.parts.catalogue.acquire(GROUP, "t", &[wanted], "b").await.unwrap();
    let receipt = site.ask(&[&shard]).await;
    site.work().await;
    let receipt = site.receipt(receipt.number).await;
    assert!(receipt.refusals[0].problem.contains("deleted and created again"), "{receipt:?}");
    assert_eq!(site.records().await.len(), 10);
}

#[tokio::test]
async fn a_process_that_is_killed_or_late_changes_nothing() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    site.write(&mut app, "first", 10).await;
    let shard = site.cut().await.remove(0);
    let before = site.records().await;
    site.lose(&shard);
    let number = site.ask(&[&shard]).await.number;
    let make = async |merger: &Merger| {
        let Merger { parts, settings, shutdown, .. } = merger;
        match from_topic::make(parts, settings, &shard, 100, shutdown).await.unwrap() {
            Made::Bundle(bundle) => *bundle,
            other => panic!("{other:?}"),
        }
    };
    // One is killed when its bundle is stored; its lease is still there.
    assert!(site.parts.catalogue.lease("merge/app", "gone", LEASE).await.unwrap());
    let lost = make(&site.merger).await;
    publish::store(&site.parts, &lost).await.unwrap();
    assert_eq!(site.merger.once().await.unwrap(), Pass::Idle, "the lease is another's");
    assert_eq!((site.receipt(number).await.waiting, site.live().await), (1, vec![shard.clone()]));
    site.clock.advance(LEASE);
    site.work().await;
    assert_eq!((site.receipt(number).await.shards, site.records().await), (1, before.clone()));
    // One that was asked before comes late.
    let zombie = make(&site.merger).await;
    let key = zombie.meta.key.clone();
    site.merger.put_in_place(number, &shard, zombie).await.unwrap();
    let receipt = site.receipt(number).await;
    assert_eq!((receipt.shards, receipt.refused, site.records().await), (1, 0, before));
    let stored = site.parts.bundles.list("").await.unwrap();
    assert!(stored.iter().all(|(stored, _)| *stored != key), "its bundle is deleted");
}

#[tokio::test]
async fn what_is_away_is_waited_for() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    site.write(&mut app, "first", 10).await;
    let shard = site.cut().await.remove(0);
    let before = site.records().await;
    let number = site.ask(&[&shard]).await.number;
    std::fs::remove_dir(&site.parts.work_directory).unwrap();
    assert_eq!(site.merger.once().await.unwrap(), Pass::Idle);
    std::fs::create_dir(&site.parts.work_directory).unwrap();
    assert_eq!(site.merger.once().await.unwrap(), Pass::Idle, "it is left alone for a while");
    assert_eq!((site.receipt(number).await.waiting, site.live().await), (1, vec![shard]));
    site.clock.advance(ASIDE);
    site.work().await;
    assert_eq!((site.receipt(number).await.shards, site.records().await), (1, before));
}

#[tokio::test]
async fn one_that_is_told_to_stop_leaves_the_shard_waiting() {
    let mut site = Site::new().await;
    let mut app = Source::new(1, "app");
    site.write(&mut app, "first", 10).await;
    let shard = site.cut().await.remove(0);
    let number = site.ask(&[&shard]).await.number;
    let stopped = CancellationToken::new();
    stopped.cancel();
    site.merger.shutdown = stopped;
    site.merger.once().await.unwrap();
    assert_eq!((site.receipt(number).await.waiting, site.live().await), (1, vec![shard]));
    site.set(|_| {});
    site.work().await;
    assert_eq!(site.receipt(number).await.shards, 1);
}
