#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use millrace_catalogue::{PartitionRow, Snapshot};
use millrace_model::{Grant, TimeRange};
use millrace_store::{HotRequest, HotResponse, LeafError, LeafRequest, LeafResponse, Order};

fn plan(next_offset: Option<i64>) -> Plan {
    let sealed = LeafRequest {
        filter: millrace_filter::parse("*").unwrap(),
        range: TimeRange::ALL,
        limit: 10,
        order: Order::NewestFirst,
        after: None,
        histogram: None,
        fragments: None,
    };
    let partitions = vec![PartitionRow {
        topic: "t".into(),
        topic_id: None,
        partition: Partition(0),
        next_offset,
        owner_epoch: 2,
        owner: "a".into(),
    }];
    let hot = HotRequest {
        request: sealed.clone(),
        streams: None,
        grant: Grant::All,
        published: Vec::new(),
        publish: false,
    };
    Plan {
        snapshot: Snapshot { shards: Vec::new(), partitions, nodes: Vec::new(), deletions: Vec::new() },
        sealed,
        hot,
    }
}

fn part(epoch: u64, held: (i64, i64), end: i64, total: u64) -> HotPart {
    HotPart {
        topic: "t".into(),
        topic_id: None,
        partition: Partition(0),
        epoch,
        held_from: held.0,
        held_to: held.1,
        end,
        waits_ms: None,
        response: LeafResponse { total, ..LeafResponse::default() },
    }
}

fn answer(next: Option<i64>, parts: Vec<HotPart>) -> Hits {
    let hot = parts
        .into_iter()
        .map(|part| LeafAnswer::at_once("node", Ok(HotResponse { parts: vec![part] })))
        .collect();
    merge(&plan(next), Sealed::default(), hot)
}

#[test]
fn of_two_owners_the_higher_epoch_is_right() {
    let hits = answer(Some(5), vec![part(1, (5, 20), 20, 100), part(2, (5, 20), 20, 7)]);
    assert_eq!((hits.total, hits.missing), (7, Vec::new()));
}

#[test]
fn a_successor_that_lags_behind_its_predecessor_makes_the_answer_partial() {
    let hits = answer(Some(5), vec![part(1, (5, 20), 20, 100), part(2, (5, 8), 8, 7)]);
    assert_eq!((hits.total, hits.missing.len()), (7, 1));
    assert_eq!((hits.missing[0].partition, hits.missing[0].lag), (Some(Partition(0)), Some(12)));
}

#[test]
fn a_former_owner_alone_does_not_answer_for_its_partition() {
    let hits = answer(Some(5), vec![part(1, (5, 20), 20, 100)]);
    assert_eq!((hits.total, hits.missing.len()), (100, 1));
    assert_eq!(hits.missing[0].partition, Some(Partition(0)));
}

#[test]
fn a_gap_at_the_seam_and_a_partition_that_nobody_holds_are_named() {
    assert_eq!(answer(Some(5), vec![part(2, (9, 20), 20, 1)]).missing[0].lag, Some(4));
    assert_eq!(answer(None, vec![part(2, (9, 20), 20, 1)]).missing, Vec::new());
    let nobody = answer(Some(5), Vec::new());
    assert!(nobody.missing.iter().any(|m| m.reason.contains("no indexer is running")));
    assert!(nobody.missing.iter().any(|m| m.partition == Some(Partition(0))));
}

#[test]
fn an_indexer_that_knows_no_pipes_is_named() {
    let query = millrace_pipes::parse("* | stats count()").unwrap();
    let context = millrace_pipes::Context {
        now: millrace_model::Timestamp(0),
        range: TimeRange::ALL,
        limit: 10,
        memory: 1 << 20,
    };
    let pipes = millrace_pipes::Plan::new(&query.pipes, &context).unwrap();
    let mut plan = plan(Some(5));
    plan.sealed.fragments = Some(pipes.leaf());
    let ask = |total: u64, gathered: Option<millrace_pipes::Partials>| {
        let mut part = part(2, (5, 20), 20, total);
        part.response.gathered = gathered;
        merge(
            &plan,
            Sealed::default(),
            vec![LeafAnswer::at_once("node", Ok(HotResponse { parts: vec![part] }))],
        )
        .missing
    };
    assert!(ask(3, None)[0].reason.contains("no pipes"));
    assert_eq!(ask(0, None), [], "a partition without rows has nothing to gather");
    assert_eq!(ask(3, Some(pipes.leaf().begin())), []);
}

#[test]
fn a_leaf_that_does_not_answer_is_named() {
    let error = LeafError::Unreachable { address: "127.0.0.1:1".into(), problem: "refused".into() };
    let hits = merge(&plan(Some(0)), Sealed::default(), vec![LeafAnswer::at_once("b", Err(error))]);
    assert!(hits.missing[0].reason.contains("indexer b"), "{:?}", hits.missing);
}
