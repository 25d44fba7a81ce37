//! What many distinct fields cost: a program that puts names of users or ids into the keys of its JSON. Run by hand:
//!
//! ```text
//! cargo test --release -p millrace-store --lib many_fields -- --ignored --nocapture
//! ```
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use crate::{
    FieldRules, HotRow, HotShard, LeafRequest, MergeInput, Order, SealInput, SealedShard, Shaper, merge, seal,
};
use millrace_intake::{Parser, Parsers};
use millrace_model::{
    Attributes, OffsetRange, Partition, RecordId, Row, ShardId, SourceId, StreamName, TimeRange, Timestamp,
};
use std::{path::Path, sync::Arc, time::Instant};

const ROWS: usize = 100_000;
const CUTS: usize = 5;

fn row(number: usize, keys: usize, parsers: &Parsers, resource: &Arc<Attributes>) -> HotRow {
    let key = number % keys;
    let line = format!(
        r#"{{"level":"info","msg":"request {number} done","status":{},"path":"/api/{}","k{key}":"v{key}"}}"#,
        200 + number % 4 * 100,
        number % 50
    );
    let record = parsers.parse(line.as_bytes(), Timestamp(1_000 + number as i64), resource);
    let id = RecordId { source: SourceId(1), position: number as u64 * 100, index: 0 };
    let row = Row { id, stream: StreamName::default(), time: record.time(), record };
    HotRow { partition: Partition(0), offset: number as i64, row }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    println!("  {what:<44} {:>9.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    done
}

fn cut(
    rows: &[HotRow],
    number: usize,
    (shaper, rules): (&Shaper, &FieldRules),
    folder: &Path,
) -> SealedShard {
    let hot = HotShard::new(shaper, rules);
    for rows in rows.chunks(500) {
        hot.append(rows.to_vec());
    }
    let input = SealInput {
        id: ShardId(number as u128 + 1),
        stream: StreamName::default(),
        rows: vec![hot.snapshot()],
        offsets: vec![OffsetRange {
            topic: "t".to_owned(),
            topic_id: None,
            partition: Partition(0),
            from: 0,
            to: ROWS as i64,
        }],
        created: Timestamp(7),
        rewrites: 0,
        bucket: None,
    };
    SealedShard::open(&seal(&input, folder).unwrap().path).unwrap()
}

#[test]
#[ignore = "a measurement"]
fn many_fields() {
    let parsers: Parsers = [Parser::Json].into_iter().collect();
    let resource = Arc::new(Attributes::new());
    for (keys, most) in
        [(10, usize::MAX), (1_000, usize::MAX), (10_000, usize::MAX), (ROWS, usize::MAX), (ROWS, 1_000)]
    {
        println!("{ROWS} records, {keys} names of fields, columns for {most}:");
        let rules = FieldRules::new(Arc::default(), most);
        let rows: Vec<HotRow> = (0..ROWS).map(|number| row(number, keys, &parsers, &resource)).collect();
        let folder = tempfile::tempdir().unwrap();
        let shaper = Shaper::new();
        let shards: Vec<SealedShard> = timed("append and seal", || {
            let cuts = rows.chunks(ROWS / CUTS).enumerate();
            cuts.map(|(number, rows)| cut(rows, number, (&shaper, &rules), folder.path())).collect()
        });
        println!("  {:<44} {:>9}", "kept whole", shaper.kept_whole());
        let input =
            MergeInput { id: ShardId(99), shards: &shards, deletions: &[], passed: 0, created: Timestamp(9) };
        let merged = timed("merge", || merge(&input, folder.path()).unwrap());
        let shard = timed("open", || SealedShard::open(&merged.path).unwrap());
        println!("  {:<44} {:>9} bytes", "merged", merged.meta.bytes);
        println!("  {:<44} {:>9}", "shapes", shard.directory.shapes.len());
        println!("  {:<44} {:>9}", "chunks", shard.directory.chunks.len());
        for query in ["v7", "done", "k7:v7", "k7:*", "status:>=500", "path:*17", "NOT v7", "*7 done"] {
            let request = LeafRequest {
                filter: millrace_filter::parse(query).unwrap(),
                range: TimeRange::ALL,
                limit: 20,
                order: Order::NewestFirst,
                after: None,
                histogram: None,
                fragments: None,
            };
            shard.search(&request).unwrap();
            let found = timed(query, || shard.search(&request).unwrap());
            assert!(found.total > 0, "{query}");
        }
    }
}
