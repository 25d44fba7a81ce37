//! Measures a publish as an indexer makes it, and a snapshot over what has been published:
//! `cargo run --release -p millrace-catalogue --example publish [FOLDER]`. The folder's disk decides the figures.

use millrace_catalogue::{Acquisition, Catalogue, Cut, Move, SourceWrite};
use millrace_ledger::{Piece, SourceState, Span};
use millrace_model::{
    Clock, OffsetRange, Partition, ShardId, ShardMeta, SourceId, StreamName, SystemClock, TimeRange,
    Timestamp, wire::SourceOpen,
};
use std::{
    error::Error,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

const GROUP: &str = "indexer";
const TOPIC: &str = "millrace.logs";
const PARTITIONS: i32 = 4;
const SHARDS: usize = 3;
const SOURCES: usize = 50;
const ROUNDS: u64 = 1_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let url = format!("sqlite://{}", folder.path().join("catalogue.db").display());
    let catalogue = Catalogue::open(&url, Arc::new(SystemClock)).await?;
    let partitions: Vec<_> = (0..PARTITIONS)
        .map(|partition| Acquisition { partition: Partition(partition), topic_id: None, low: 0 })
        .collect();
    let owned = catalogue.acquire(GROUP, TOPIC, &partitions, "bench").await?;
    let ids: Vec<SourceId> = (0..SOURCES).map(|_| SourceId::random()).collect();

    let mut publishes = Vec::new();
    for round in 0..ROUNDS {
        let from = (round > 0).then_some(round as i64 * 100);
        let moves = owned.iter().map(|own| Move {
            partition: own.partition,
            epoch: own.epoch,
            from,
            to: (round as i64 + 1) * 100,
        });
        let moves: Vec<Move> = moves.collect();
        let cut = Cut {
            group: GROUP.to_owned(),
            topic: TOPIC.to_owned(),
            shards: (0..SHARDS).map(|_| shard(&moves, round)).collect(),
            sources: ids.iter().map(|id| source(*id, round)).collect(),
            moves,
            ..Cut::default()
        };
        let begun = Instant::now();
        catalogue.publish(&cut).await?;
        publishes.push(begun.elapsed());
    }
    let mut out = std::io::stdout();
    report(&mut out, "publish (4 moves, 3 shards, 50 sources)", &mut publishes)?;
    let mut snapshots = Vec::new();
    let mut recent = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        catalogue.snapshot(GROUP, TimeRange::ALL, None).await?;
        snapshots.push(begun.elapsed());
        let range =
            TimeRange { from: Timestamp::from_millis((ROUNDS as i64 - 10) * 1_000), to: Timestamp::MAX };
        let begun = Instant::now();
        catalogue.snapshot(GROUP, range, None).await?;
        recent.push(begun.elapsed());
    }
    report(&mut out, "snapshot of all 3,000 shards", &mut snapshots)?;
    report(&mut out, "snapshot of the latest 33", &mut recent)?;
    catalogue.close().await;
    let bytes = std::fs::metadata(folder.path().join("catalogue.db"))?.len();
    writeln!(out, "{} bytes a publish on disk", bytes / ROUNDS)?;
    Ok(())
}

fn shard(moves: &[Move], round: u64) -> ShardMeta {
    let id = ShardId::random();
    let at = Timestamp::from_millis(round as i64 * 1_000);
    let offsets = moves.iter().map(|step| OffsetRange {
        topic: TOPIC.to_owned(),
        topic_id: None,
        partition: step.partition,
        from: step.from.unwrap_or(0),
        to: step.to,
    });
    ShardMeta {
        id,
        schema_version: 1,
        stream: StreamName::default(),
        first: at,
        last: at.plus(Duration::from_secs(1)),
        records: 400,
        bytes: 4_096,
        sha256: "ab".repeat(32),
        key: format!("logs/19700101/{id}.shard"),
        offsets: offsets.collect(),
        created: SystemClock.now(),
        rewrites: 0,
        bucket: Some(Timestamp::default()),
        deletions: 0,
        fields: millrace_model::ShardFields::default(),
    }
}

/// A source as it is after an hour: with as many remembered pieces as the ledger keeps.
fn source(id: SourceId, round: u64) -> SourceWrite {
    let mut state = SourceState {
        open: Some(SourceOpen {
            kind: "file".to_owned(),
            path: format!("/var/log/app/{id}.log"),
            host: "web1".to_owned(),
            start: 0,
            continues: None,
            because: None,
        }),
        records: round * 100,
        ..SourceState::default()
    };
    let end = (round + 64) * 1_000_000;
    state.covered.insert(Span { start: 0, end });
    state.recent = (round..round + 64)
        .map(|piece| Piece {
            span: Span { start: piece * 1_000_000, end: (piece + 1) * 1_000_000 },
            crc32c: 0x89ab_cdef,
            epoch: 7,
        })
        .collect();
    SourceWrite { id, partition: Partition(0), expected_version: (round > 0).then_some(round), state }
}

fn report(out: &mut impl Write, what: &str, times: &mut [Duration]) -> std::io::Result<()> {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    writeln!(out, "{what}: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(0.5), at(0.99), at(1.0))
}
