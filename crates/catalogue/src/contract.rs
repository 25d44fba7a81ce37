//! What every catalogue must do, whatever database it stands on. Each function is given a [`Bed`]: two handles on one
//! empty catalogue, as two processes would have them, and the clock that both go by.

pub(crate) mod access;
pub(crate) mod aliases;
pub(crate) mod collections;
pub(crate) mod expiry;
pub(crate) mod going_back;
pub(crate) mod holes;
pub(crate) mod life;
pub(crate) mod merging;
pub(crate) mod ownership;
pub(crate) mod publishing;
pub(crate) mod records;
pub(crate) mod refusing;
pub(crate) mod reprocessing;
pub(crate) mod restoring;
pub(crate) mod traffic;
pub(crate) mod triage;
pub(crate) mod verifying;

use crate::{Acquisition, Alert, AlertState, Catalogue, Cut, Move, Notification, Ownership, SourceWrite};
use millrace_ledger::{SourceState, Span};
use millrace_model::{
    ManualClock, OffsetRange, Partition, ShardId, ShardMeta, SourceId, StreamName, TimeRange, Timestamp,
    TopicId, wire::SourceOpen,
};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) const GROUP: &str = "indexer";
pub(crate) const TOPIC: &str = "millrace.logs";

/// Two handles on one empty catalogue.
pub(crate) struct Bed {
    pub(crate) first: Catalogue,
    pub(crate) second: Catalogue,
    pub(crate) clock: Arc<ManualClock>,
}

/// Makes a test of each function of the contract. `$lay` gives a bed of its own to each, and what must outlive it.
macro_rules! tests {
    ($lay:path) => {
        $crate::contract::tests! { @each $lay;
            ownership: acquiring_raises_the_epoch_and_fences_the_older_owner;
            ownership: two_owners_at_once_get_different_epochs;
            ownership: groups_do_not_meet;
            ownership: a_recreated_topic_begins_anew_and_its_past_is_kept;
            publishing: a_cut_moves_everything_at_once;
            publishing: a_zombie_changes_nothing;
            publishing: a_conflict_changes_nothing;
            publishing: a_stale_document_changes_nothing;
            publishing: a_shard_is_published_once;
            publishing: a_contradiction_is_refused;
            publishing: what_was_sealed_long_ago_is_refused;
            publishing: a_move_onto_the_spot_only_proves_ownership;
            publishing: publishers_of_different_partitions_both_succeed;
            expiry: a_snapshot_holds_what_was_asked_for;
            expiry: expiry_hides_at_once_and_forgetting_removes;
            expiry: the_trail_verifies_and_tells_a_changed_row;
            records: sources_come_back_as_they_were;
            records: alerts_and_their_outbox_are_idempotent;
            records: a_notification_is_claimed_once_and_comes_back_when_due;
            triage: notifications_about_one_thing_go_in_their_order;
            triage: what_was_settled_long_ago_is_forgotten;
            triage: what_people_do_is_not_written_over;
            triage: what_is_decided_happens_whole_or_not_at_all;
            triage: an_alert_is_open_until_it_is_settled;
            triage: history_is_told_of_each_change;
            triage: each_change_of_a_verdict_is_to_be_copied;
            triage: verdicts_are_given_counted_and_taken_back;
            records: documents_are_compared_and_set;
            records: nodes_live_as_long_as_their_heartbeat;
            records: a_lease_is_one_holders_until_it_is_over;
            merging: a_merge_takes_effect_at_once;
            refusing: a_merge_of_a_shard_that_is_not_live_changes_nothing;
            merging: of_two_merges_of_the_same_shards_one_happens;
            merging: a_zombies_merge_is_as_good_as_its_shards;
            merging: a_merge_and_an_expiry_in_either_order;
            refusing: a_lost_answer_is_no_refusal;
            refusing: no_record_is_lost_or_added;
            refusing: a_replacement_that_contradicts_itself_is_refused;
            merging: a_merge_of_several_partitions_is_in_the_trail_of_each;
            merging: the_trail_tells_a_merge_that_cannot_be;
            merging: a_snapshot_has_the_shards_from_before_or_from_after;
            merging: what_can_be_merged_is_live_in_one_bucket_and_rewritten_seldom;
            life: what_is_said_of_fields_is_kept_and_adds_up;
            life: the_oldest_shards_end_when_a_stream_outgrows_its_bound;
            life: nothing_ends_in_a_stream_on_hold;
            life: a_deletion_reaches_what_was_published_before_it;
            life: a_deletion_ends_when_no_shard_is_left_for_it;
            life: a_shard_does_not_pass_a_deletion_by_being_merged;
            life: usage_adds_up;
            traffic: what_is_brought_adds_up;
            traffic: what_is_not_published_was_not_brought;
            life: what_merges_made_is_told_from_what_was_sealed;
            reprocessing: what_is_made_again_is_counted_and_in_the_trail;
            reprocessing: a_shard_that_waits_hands_its_place_to_what_it_became;
            reprocessing: what_is_refused_or_expires_does_not_wait;
            reprocessing: only_live_shards_that_fit_are_asked_for;
            restoring: every_row_of_every_table_is_given;
            restoring: a_snapshot_restores_what_was_there;
            restoring: a_snapshot_of_the_first_version_restores;
            restoring: a_snapshot_that_is_not_whole_restores_nothing;
            restoring: a_summary_counts_what_is_there;
            verifying: what_is_published_verifies;
            verifying: a_changed_shard_is_named;
            verifying: a_shard_without_a_link_is_named;
            verifying: a_changed_trail_is_named;
            verifying: a_moved_partition_is_named;
            verifying: a_busy_catalogue_has_no_faults;
            holes: what_was_removed_unread_is_a_hole;
            holes: what_was_there_before_the_group_is_none;
            holes: a_topic_that_steps_back_begins_under_another_id;
            holes: a_former_owner_steps_nowhere;
            holes: what_has_been_published_is_known;
            holes: a_changed_hole_is_named;
            collections: documents_are_written_changed_and_deleted;
            collections: a_decision_sees_what_came_before_it;
            collections: changes_of_two_are_numbered_once;
            collections: what_has_changed_since_is_told;
            collections: a_full_collection_lets_old_documents_go_and_no_others;
            collections: a_collection_that_is_deleted_is_gone;
            access: tokens_are_added_listed_and_revoked;
            access: tokens_are_bounded;
            access: sessions_end_and_their_number_is_bounded;
            aliases: aliases_come_in_order_and_once;
            aliases: what_does_not_happen_adds_no_alias;
            aliases: aliases_are_bounded_and_the_refused_are_counted;
        }
    };
    (@each $lay:path; $($module:ident: $test:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let (bed, _kept) = $lay().await;
            $crate::contract::$module::$test(&bed).await;
        }
    )+};
}
pub(crate) use tests;

/// Stands still, a while after everything in here was made.
pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)))
}

pub(crate) async fn own(catalogue: &Catalogue, partition: i32, owner: &str) -> Ownership {
    catalogue.acquire(GROUP, TOPIC, &[wanted(partition, None, 0)], owner).await.unwrap()[0]
}

pub(crate) fn wanted(partition: i32, topic_id: Option<TopicId>, low: i64) -> Acquisition {
    Acquisition { partition: Partition(partition), topic_id, low }
}

/// Many processes open a new catalogue at the same time; each then owns a partition in turn.
pub(crate) async fn opened_by_many_at_once(url: &str) {
    let open = |_| {
        let url = url.to_owned();
        tokio::spawn(async move {
            let catalogue = Catalogue::open(&url, clock()).await.unwrap();
            own(&catalogue, 0, "a").await.epoch
        })
    };
    let opening: Vec<_> = (0..8).map(open).collect();
    let mut epochs = Vec::new();
    for one in opening {
        epochs.push(one.await.unwrap());
    }
    epochs.sort_unstable();
    assert_eq!(epochs, (1..=8).collect::<Vec<_>>());
}

pub(crate) fn step(ownership: &Ownership, to: i64) -> Move {
    Move { partition: ownership.partition, epoch: ownership.epoch, from: ownership.next_offset, to }
}

pub(crate) fn shard(step: &Move) -> ShardMeta {
    let id = ShardId::random();
    ShardMeta {
        id,
        schema_version: 1,
        stream: StreamName::default(),
        first: Timestamp::from_millis(1_000),
        last: Timestamp::from_millis(2_000),
        records: (step.to - step.from.unwrap_or(0)) as u64,
        bytes: 4_096,
        sha256: "ab".repeat(32),
        key: format!("logs/19700101/{id}.shard"),
        offsets: vec![OffsetRange {
            topic: TOPIC.to_owned(),
            topic_id: None,
            partition: step.partition,
            from: step.from.unwrap_or(0),
            to: step.to,
        }],
        created: Timestamp::from_millis(3_000),
        rewrites: 0,
        bucket: Some(Timestamp::from_millis(0)),
        deletions: 0,
        fields: millrace_model::ShardFields::default(),
    }
}

pub(crate) fn source(partition: Partition, expected_version: Option<u64>, end: u64) -> SourceWrite {
    let mut state = SourceState {
        open: Some(SourceOpen {
            kind: "file".to_owned(),
            path: "/var/log/app.log".to_owned(),
            host: "web1".to_owned(),
            start: 0,
            continues: None,
            because: None,
        }),
        records: 7,
        ..SourceState::default()
    };
    state.covered.insert(Span { start: 0, end });
    SourceWrite { id: SourceId::random(), partition, expected_version, state }
}

/// A cut of one move, with a shard for it and a new source.
pub(crate) fn cut(step: Move) -> Cut {
    Cut {
        group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        moves: vec![step],
        shards: vec![shard(&step)],
        sources: vec![source(step.partition, None, 100)],
        ..Cut::default()
    }
}

pub(crate) fn alert(id: &str, state: AlertState) -> Alert {
    Alert {
        id: id.to_owned(),
        fingerprint: format!("fingerprint of {id}"),
        rule_id: "ssh-brute-force".to_owned(),
        title: "Many failed logins".to_owned(),
        level: "high".to_owned(),
        state,
        group: BTreeMap::from([("client_ip".to_owned(), "10.0.0.1".to_owned())]),
        first: Timestamp::from_millis(1_000),
        last: Timestamp::from_millis(2_000),
        count: 40,
        evidence: vec!["00000000000000000000000000000001-0000000000000010-0".parse().unwrap()],
        resolved_at: (state == AlertState::Resolved).then(|| Timestamp::from_millis(3_000)),
    }
}

pub(crate) fn notification(id: &str, alert: &str, created: Timestamp) -> Notification {
    Notification {
        id: id.to_owned(),
        alert_id: alert.to_owned(),
        receiver: "ops".to_owned(),
        body: "{}".to_owned(),
        created,
        about: id.to_owned(),
        sequence: 1,
    }
}

/// All that a refused publish must leave as it was.
#[derive(Debug, PartialEq)]
pub(crate) struct Everything {
    pub(crate) snapshot: crate::Snapshot,
    pub(crate) sources: Vec<crate::StoredSource>,
    pub(crate) trail: Vec<crate::TrailRow>,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) due: Vec<crate::DueNotification>,
    pub(crate) documents: Vec<crate::Document>,
    pub(crate) hidden: Vec<crate::HiddenShard>,
    pub(crate) aliases: Vec<crate::Alias>,
    pub(crate) holes: Vec<crate::OffsetHole>,
}

pub(crate) async fn everything(catalogue: &Catalogue) -> Everything {
    let snapshot = catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
    let mut trail = Vec::new();
    for row in &snapshot.partitions {
        trail.extend(catalogue.trail(GROUP, TOPIC, row.partition, 0, 1_000).await.unwrap());
    }
    Everything {
        snapshot,
        sources: catalogue.all_sources(GROUP).await.unwrap(),
        trail,
        alerts: catalogue.alerts(None, 1_000).await.unwrap(),
        due: catalogue.due_notifications("ops", 1_000).await.unwrap(),
        documents: catalogue.documents("rule").await.unwrap(),
        hidden: catalogue.hidden(Timestamp::MAX).await.unwrap(),
        aliases: catalogue.aliases_since(0).await.unwrap().1,
        holes: catalogue.holes(GROUP).await.unwrap(),
    }
}
