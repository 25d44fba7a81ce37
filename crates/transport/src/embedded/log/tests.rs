#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    Metrics,
    embedded::block::{self, HEADER},
};
use bytes::Bytes;
use millrace_model::{Timestamp, wire::Payload};
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

const BLOCKS: i64 = 10;
const COUNT: i64 = 5;

/// A segment of ten blocks with five messages each, and where each block begins.
fn segment(folder: &Path) -> (PathBuf, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut starts = Vec::new();
    for number in 0..BLOCKS {
        starts.push(bytes.len());
        bytes.extend(block_of(number * COUNT));
    }
    let path = folder.join(Segment::file_name(0));
    fs::write(&path, bytes).unwrap();
    (path, starts)
}

fn block_of(first: i64) -> Vec<u8> {
    let payloads: Vec<_> = (first..first + COUNT)
        .map(|offset| Payload { value: Bytes::from(format!("message {offset}")), ..Payload::default() })
        .collect();
    block::encode(first, Timestamp::from_millis(first), payloads.iter()).unwrap().1
}

fn metrics() -> TopicMetrics {
    Metrics::default().of("logs")
}

fn open(folder: &TempDir) -> (Log, TopicMetrics) {
    let metrics = metrics();
    (Log::open(folder.path().to_owned(), Partition(0), &metrics).unwrap(), metrics)
}

/// The offsets of all sound blocks from `offset` on.
fn offsets(log: &Log, offset: i64) -> Vec<i64> {
    let mut found = Vec::new();
    let mut segment = log.segment_of(offset);
    while let Some(current) = segment {
        let mut walker = current.walk_from(offset).unwrap();
        loop {
            match walker.step(current.committed(), true).unwrap() {
                Step::Block { header, payload, .. } => {
                    if let Ok(messages) = block::decode(&header, &payload, log.partition) {
                        found.extend(messages.iter().map(|m| m.offset).filter(|found| *found >= offset));
                    }
                }
                Step::Damaged { .. } => {}
                Step::End => break,
            }
        }
        segment = log.segment_after(current.base);
    }
    found
}

#[test]
fn a_torn_end_is_cut_wherever_it_is_torn() {
    let folder = TempDir::new().unwrap();
    let (path, starts) = segment(folder.path());
    let whole = fs::read(&path).unwrap();
    for torn in starts[8] + 1..whole.len() {
        fs::write(&path, &whole[..torn]).unwrap();
        let (log, metrics) = open(&folder);
        let sound = *starts.iter().rev().find(|start| **start <= torn).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), sound as u64);
        assert_eq!(metrics.cut_bytes.get(), (torn - sound) as u64);
        assert_eq!(metrics.corrupt_blocks.get(), 0);
        let last = if sound == starts[8] { 40 } else { 45 };
        assert_eq!(offsets(&log, 0), (0..last).collect::<Vec<_>>());
        assert!(log.end() >= last);
        // Opened again, there is nothing to cut.
        let (again, metrics) = open(&folder);
        assert_eq!(metrics.cut_bytes.get(), 0);
        assert_eq!(again.end(), last);
    }
}

#[test]
fn an_offset_that_a_torn_block_claimed_is_not_given_again() {
    let folder = TempDir::new().unwrap();
    let (path, starts) = segment(folder.path());
    let whole = fs::read(&path).unwrap();
    // The header is whole, the payload is not what it was.
    let mut torn = whole.clone();
    torn[starts[9] + HEADER..].fill(0);
    fs::write(&path, &torn).unwrap();
    let (log, _) = open(&folder);
    assert_eq!(offsets(&log, 0), (0..45).collect::<Vec<_>>());
    assert_eq!(log.end(), 50);
}

#[test]
fn damage_in_the_middle_costs_its_own_block_only() {
    let folder = TempDir::new().unwrap();
    let (path, starts) = segment(folder.path());
    let whole = fs::read(&path).unwrap();
    let without = |block: i64| (0..50).filter(|offset| offset / COUNT != block).collect::<Vec<_>>();
    for block in [0, 4, 8] {
        for at in [0, 5, 9, 30, HEADER, HEADER + 3] {
            let mut damaged = whole.clone();
            damaged[starts[block] + at] ^= 0x40;
            fs::write(&path, &damaged).unwrap();
            let (log, metrics) = open(&folder);
            assert_eq!(offsets(&log, 0), without(block as i64), "block {block}, byte {at}");
            assert_eq!((metrics.corrupt_blocks.get(), metrics.cut_bytes.get()), (1, 0));
            assert_eq!(log.end(), 50);
        }
    }
}

#[test]
fn a_file_of_rubbish_is_an_empty_segment() {
    let folder = TempDir::new().unwrap();
    // Magics all over, none of them a block.
    let path = folder.path().join(Segment::file_name(700));
    fs::write(&path, b"MRB1".repeat(300_000)).unwrap();
    let (log, metrics) = open(&folder);
    assert_eq!((log.low(), log.end()), (700, 700));
    assert_eq!(metrics.cut_bytes.get(), 1_200_000);
    assert_eq!(offsets(&log, 0), [0i64; 0]);
}

#[test]
fn older_segments_are_indexed_when_they_are_read() {
    let folder = TempDir::new().unwrap();
    let (path, starts) = segment(folder.path());
    // Damage in an older segment is met by its readers, and costs its own block only.
    let mut bytes = fs::read(&path).unwrap();
    bytes[starts[2] + 10] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::write(folder.path().join(Segment::file_name(50)), block_of(50)).unwrap();
    fs::write(folder.path().join("notes.txt"), "not ours").unwrap();
    let (log, _) = open(&folder);
    assert_eq!((log.low(), log.end()), (0, 55));
    assert_eq!(offsets(&log, 33), (33..55).collect::<Vec<_>>());
    assert_eq!(offsets(&log, 0), (0..10).chain(15..55).collect::<Vec<_>>());
    assert_eq!(log.oldest().unwrap().0.newest_ms().unwrap(), Some(45));
    assert!(folder.path().join("notes.txt").exists());
}

#[test]
fn the_oldest_can_go_and_the_one_being_written_cannot() {
    let folder = TempDir::new().unwrap();
    let (path, _) = segment(folder.path());
    let (log, _) = open(&folder);
    assert!(log.oldest().is_none());
    log.delete(&log.active()).unwrap();
    assert!(path.exists());
    log.roll().unwrap();
    let (oldest, end) = log.oldest().unwrap();
    assert_eq!((oldest.base, end), (0, 50));
    log.delete(&oldest).unwrap();
    assert!(!path.exists());
    assert_eq!((log.low(), log.end(), log.bytes()), (50, 50, 0));
    // The place in the numbering outlives the messages.
    drop(log);
    let (log, _) = open(&folder);
    assert_eq!((log.low(), log.end()), (50, 50));
}

/// What a file may be made of.
#[derive(Debug, Clone)]
enum Piece {
    /// A block where it belongs.
    Block,
    /// A block from earlier on.
    Stale(i64),
    /// The first bytes of a block, less than its header.
    Torn(usize),
    Rubbish(Vec<u8>),
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let rubbish = vec(any::<u8>(), 1..200).prop_map(Piece::Rubbish);
    let torn = (1..HEADER).prop_map(Piece::Torn);
    vec(
        prop_oneof![3 => Just(Piece::Block), 1 => (0..50_i64).prop_map(Piece::Stale), 1 => torn, 1 => rubbish],
        0..12,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever a file is made of, it opens, its offsets rise, and opening it again finds the same.
    #[test]
    fn any_file_opens_and_keeps_its_sound_blocks(pieces in pieces()) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(Segment::file_name(0));
        let mut bytes = Vec::new();
        let mut next = 0;
        let mut sound = 0;
        for piece in &pieces {
            match piece {
                Piece::Block => {
                    bytes.extend(block_of(next));
                    next += COUNT;
                    sound += COUNT;
                }
                // Before anything else came, it is no repetition but the first.
                Piece::Stale(_) if next == 0 => {}
                Piece::Stale(first) => bytes.extend(block_of((*first).min(next - COUNT))),
                Piece::Torn(length) => bytes.extend(block_of(next).iter().take(*length)),
                Piece::Rubbish(rubbish) => bytes.extend(rubbish),
            }
        }
        fs::write(&path, &bytes).unwrap();
        let (log, _) = open(&folder);
        let mut found = offsets(&log, 0);
        found.dedup();
        found.sort_unstable();
        found.dedup();
        prop_assert_eq!(found.len() as i64, sound);
        prop_assert!(log.end() >= next);
        let end = found.last().map_or(0, |last| last + 1);
        let (again, metrics) = open(&folder);
        prop_assert_eq!(metrics.cut_bytes.get(), 0);
        prop_assert_eq!(offsets(&again, 0), offsets(&log, 0));
        prop_assert!(again.end() >= end);
    }
}
