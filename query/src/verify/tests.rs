//! Bundles that are not what their rows say: each kind is named. What the rows themselves may be is the catalogue's
//! contract.

use super::*;
use millrace_catalogue::{Acquisition, Cut, Move, Replacement};
use millrace_model::{
    LogRecord, ManualClock, OffsetRange, RecordId, Row, ShardId, SourceId, StreamName, Timestamp,
};
use millrace_store::{HotRow, HotShard, MergeInput, SealInput, SealedBundle, SealedShard};
use std::{path::PathBuf, sync::Arc};
use tempfile::TempDir;

const TOPIC: &str = "millrace.logs";

struct Site {
    folder: TempDir,
    catalogue: Catalogue,
    bundles: Bundles,
    epoch: u64,
}

impl Site {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("catalogue.db").display());
        let catalogue = Catalogue::open(&url, Arc::new(ManualClock::new(Timestamp(1_000)))).await.unwrap();
        let bundles = Bundles::open(&millrace_storage::Settings::new(
            format!("file://{}", folder.path().join("shards").display()),
            "",
        ))
        .unwrap();
        let wanted = Acquisition { partition: Partition(0), topic_id: None, low: 0 };
        let owned = catalogue.acquire(INDEXER_GROUP, TOPIC, &[wanted], "test").await.unwrap();
        Self { folder, catalogue, bundles, epoch: owned[0].epoch }
    }

    fn path(&self, shard: &ShardMeta) -> PathBuf {
        self.folder.path().join("shards").join(&shard.key)
    }

    /// A shard of ten lines, in storage and not published.
    async fn stored(&self, from: i64) -> ShardMeta {
        let hot = HotShard::default();
        for offset in from..from + 10 {
            let id = RecordId { source: SourceId(7), position: offset as u64, index: 0 };
            let time = Timestamp::from_millis(offset);
            let record = LogRecord { body: format!("line {offset} of it").into(), ..LogRecord::default() };
            let row = Row { id, stream: StreamName::default(), time, record };
            hot.append(vec![HotRow { partition: Partition(0), offset, row }]);
        }
        let range = OffsetRange {
            topic: TOPIC.to_owned(),
            topic_id: None,
            partition: Partition(0),
            from,
            to: from + 10,
        };
        let input = SealInput {
            id: ShardId::random(),
            stream: StreamName::default(),
            rows: vec![hot.snapshot()],
            offsets: vec![range],
            created: Timestamp(1),
            rewrites: 0,
            bucket: None,
        };
        let SealedBundle { path, meta, .. } = millrace_store::seal(&input, self.folder.path()).unwrap();
        self.bundles.put(&meta.key, &path).await.unwrap();
        meta
    }

    async fn publish(&self, shard: &ShardMeta) {
        let (from, to) = (shard.offsets[0].from, shard.offsets[0].to);
        let cut = Cut {
            group: INDEXER_GROUP.to_owned(),
            topic: TOPIC.to_owned(),
            moves: vec![Move {
                partition: Partition(0),
                epoch: self.epoch,
                from: (from > 0).then_some(from),
                to,
            }],
            shards: vec![shard.clone()],
            ..Cut::default()
        };
        self.catalogue.publish(&cut).await.unwrap();
    }

    async fn published(&self, number: i64) -> ShardMeta {
        let shard = self.stored(number * 10).await;
        self.publish(&shard).await;
        shard
    }

    async fn verify(&self) -> Verification {
        verify(&self.catalogue, &self.bundles).await.unwrap()
    }

    /// The problems of bundles, by shard.
    async fn problems(&self) -> Vec<(String, String)> {
        let found = self.verify().await;
        assert_eq!(found.findings.len() as u64, found.findings_total);
        let problem = |finding: Finding| {
            assert_eq!(finding.subject, Subject::Bundle, "{finding:?}");
            (finding.shard.unwrap(), finding.problem)
        };
        let mut problems: Vec<_> = found.findings.into_iter().map(problem).collect();
        problems.sort();
        problems
    }
}

#[tokio::test]
async fn what_is_published_verifies_and_what_nobody_knows_is_told() {
    let site = Site::new().await;
    let shards = [site.published(0).await, site.published(1).await];
    let found = site.verify().await;
    let bytes = shards.iter().map(|shard| shard.bytes).sum();
    let expected = Verification { chains: 1, links: 2, shards: 2, bytes, ..Verification::default() };
    assert_eq!(found, expected);
    let orphan = site.stored(20).await;
    let found = site.verify().await;
    let (unknown_bundles, unknown_bundles_total) = (vec![orphan.key.clone()], 1);
    assert_eq!(found, Verification { unknown_bundles, unknown_bundles_total, ..expected });
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_named() {
    let site = Site::new().await;
    let shard = site.published(0).await;
    let path = site.path(&shard);
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(97).chain(whole.len() - 25..whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        let problems = site.problems().await;
        assert!(problems.iter().all(|(id, _)| *id == shard.id.to_string()), "{problems:?}");
        assert!(!problems.is_empty(), "byte {at}");
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(site.problems().await.len(), 1);
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(site.problems().await, []);
}

#[tokio::test]
async fn a_bundle_that_is_gone_or_anothers_is_named() {
    let site = Site::new().await;
    let (a, b) = (site.published(0).await, site.published(1).await);
    let (of_a, of_b) = (std::fs::read(site.path(&a)).unwrap(), std::fs::read(site.path(&b)).unwrap());
    std::fs::write(site.path(&a), &of_b).unwrap();
    std::fs::write(site.path(&b), &of_a).unwrap();
    let anothers = |row: &ShardMeta, there: &ShardMeta| {
        let problem = format!("what lies there is the bundle of shard {}, of key {}", there.id, there.key);
        (row.id.to_string(), problem)
    };
    let mut expected = vec![anothers(&a, &b), anothers(&b, &a)];
    expected.sort();
    assert_eq!(site.problems().await, expected);
    std::fs::write(site.path(&b), &of_b).unwrap();
    std::fs::remove_file(site.path(&a)).unwrap();
    assert_eq!(site.problems().await, [(a.id.to_string(), "it is not in storage".to_owned())]);
}

#[tokio::test]
async fn a_row_that_differs_from_its_footer_is_named() {
    let site = Site::new().await;
    let stored = site.stored(0).await;
    let mut row = stored.clone();
    row.last = Timestamp::from_millis(9_999);
    row.offsets[0].to = 11;
    site.publish(&row).await;
    let problems: Vec<_> = site.problems().await.into_iter().map(|(_, problem)| problem).collect();
    assert_eq!(
        problems,
        [
            "its latest time: the row says 1970-01-01T00:00:09.999000000Z, its footer 1970-01-01T00:00:00.009000000Z",
            "its offsets: the row says millrace.logs/0 0-11, its footer millrace.logs/0 0-10",
        ]
    );
}

/// Shards come, are merged, and go with their bundles while they are being verified, and nothing is ever found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_on_meanwhile_is_no_finding() {
    let site = Site::new().await;
    let work = async {
        for round in 0..30 {
            let pair = [site.published(2 * round).await, site.published(2 * round + 1).await];
            let shards: Vec<_> = pair.iter().map(|m| SealedShard::open(&site.path(m)).unwrap()).collect();
            let input = MergeInput {
                id: ShardId::random(),
                shards: &shards,
                deletions: &[],
                passed: 0,
                created: Timestamp(2),
            };
            let merged = millrace_store::merge(&input, site.folder.path()).unwrap();
            site.bundles.put(&merged.meta.key, &merged.path).await.unwrap();
            let removed: Vec<ShardId> = pair.iter().map(|shard| shard.id).collect();
            let replacement = Replacement {
                group: INDEXER_GROUP.to_owned(),
                removed: removed.clone(),
                added: vec![merged.meta],
                ..Replacement::default()
            };
            site.catalogue.replace(&replacement).await.unwrap();
            // No search is waited for here: they go at once.
            for shard in &pair {
                site.bundles.delete(&shard.key).await.unwrap();
            }
            site.catalogue.forget(&removed).await.unwrap();
        }
    };
    let mut work = std::pin::pin!(work);
    let mut verified = 0;
    loop {
        tokio::select! {
            () = &mut work => break,
            found = site.verify() => {
                assert_eq!(found.findings, []);
                verified += found.shards;
            }
        }
    }
    let found = site.verify().await;
    assert_eq!((found.findings, found.shards, found.ended_meanwhile), (vec![], 30, 0));
    assert!(verified > 0, "none was verified meanwhile");
}
