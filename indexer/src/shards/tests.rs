#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use millrace_model::{LogRecord, RecordId, Row, SourceId};

const P0: Partition = Partition(0);
const P1: Partition = Partition(1);

fn owned(epoch: u64, at: i64) -> Owned {
    Owned { topic_id: None, epoch, published: Some(at), held_from: at, next: at, end: at }
}

fn row(partition: Partition, offset: i64) -> (StreamName, Timestamp, HotRow) {
    let id = RecordId { source: SourceId(1), position: offset as u64, index: partition.0 as u32 };
    let row =
        Row { id, stream: StreamName::default(), time: Timestamp(offset), record: LogRecord::default() };
    (StreamName::default(), Timestamp(0), HotRow { partition, offset, row })
}

fn offsets(shards: &Shards, partition: Partition) -> Vec<i64> {
    let held = shards.held().into_iter().find(|held| held.partition == partition).unwrap();
    held.rows
        .iter()
        .flat_map(|(_, rows)| rows.rows().map(|row| row.id.position as i64).collect::<Vec<_>>())
        .collect()
}

#[test]
fn rows_stay_until_a_while_after_they_were_published() {
    let shards = Shards::new("t");
    shards.own(P0, owned(1, 10));
    shards.append(P0, vec![row(P0, 10)], 11, Some(15));
    let frozen = shards.freeze().unwrap();
    assert_eq!((frozen.moves[0].range.from, frozen.moves[0].range.to), (10, 11));
    assert!(shards.freeze().is_none_or(|f| f.generation != frozen.generation));
    shards.append(P0, vec![row(P0, 11)], 12, None);
    assert_eq!(offsets(&shards, P0), [10, 11]);

    shards.published(frozen.generation, Timestamp(100));
    shards.sweep(Timestamp(100));
    assert_eq!(offsets(&shards, P0), [10, 11]);
    shards.sweep(Timestamp(101));
    assert_eq!(offsets(&shards, P0), [11]);
    let now = shards.owned(P0).unwrap();
    assert_eq!((now.held_from, now.next, now.end, now.published), (11, 12, 15, Some(11)));
    let next = shards.freeze().unwrap();
    assert_eq!((next.moves[0].range.from, next.moves[0].published), (11, Some(11)));
}

#[test]
fn messages_without_rows_still_move_the_offset() {
    let shards = Shards::new("t");
    shards.own(P0, owned(1, 0));
    assert!(shards.freeze().is_none());
    shards.append(P0, Vec::new(), 3, None);
    let frozen = shards.freeze().unwrap();
    assert_eq!((frozen.moves[0].range.to, frozen.rows.len()), (3, 0));
}

#[test]
fn a_partition_that_goes_takes_its_rows_along_and_leaves_the_others() {
    let shards = Shards::new("t");
    shards.own(P0, owned(1, 0));
    shards.own(P1, owned(1, 0));
    shards.append(P0, vec![row(P0, 0), row(P0, 1)], 2, None);
    shards.append(P1, vec![row(P1, 0)], 1, None);
    let frozen = shards.freeze().unwrap();
    let size = shards.size();
    assert_eq!((size.shards, size.rows), (2, 3));
    assert!(size.bytes > 0);
    assert_eq!(shards.disown(&[P0]), 2);
    let rest = shards.frozen(frozen.generation).unwrap();
    assert_eq!((rest.moves.len(), rest.moves[0].range.partition, rest.rows.len()), (1, P1, 1));
    assert_eq!(shards.disown(&[P1]), 1);
    assert!(shards.frozen(frozen.generation).is_none());
    assert_eq!(shards.size(), Size::default());
}

#[test]
fn an_old_cut_does_not_move_a_new_ownership() {
    let shards = Shards::new("t");
    shards.own(P0, owned(1, 0));
    shards.append(P0, vec![row(P0, 0)], 1, None);
    let frozen = shards.freeze().unwrap();
    shards.disown(&[P0]);
    shards.own(P0, owned(2, 0));
    shards.published(frozen.generation, Timestamp(5));
    assert_eq!(shards.owned(P0).unwrap().published, Some(0));
    shards.append(Partition(9), vec![row(Partition(9), 0)], 1, None);
    assert!(shards.owned(Partition(9)).is_none(), "rows of a partition that is not ours go nowhere");
}

/// A row of the stream `web` with one attribute.
fn with(field: &str, value: &str, bucket: i64, offset: i64) -> (StreamName, Timestamp, HotRow) {
    let (_, _, mut hot) = row(P0, offset);
    let stream: StreamName = "web".parse().unwrap();
    hot.row.stream = stream.clone();
    hot.row.record.attributes.set(field, value);
    (stream, Timestamp(bucket), hot)
}

#[test]
fn rules_hold_for_a_bucket_across_cuts_and_what_breaks_them_is_told_by_stream() {
    let mut fields = StreamFields::default();
    let declared = [("status".to_owned(), millrace_model::FieldType::Number)].into_iter().collect();
    let web = crate::settings::Fields { declared: std::sync::Arc::new(declared), most: 1 };
    fields.insert("web".parse().unwrap(), web);
    let shards = Shards::new("t").ruled_by(fields);
    shards.own(P0, owned(1, 0));
    let unruly = |conflicts, beyond| vec![("web".parse().unwrap(), Unruly { conflicts, beyond })];
    let first = vec![row(P0, 0), with("status", "500", 0, 1), with("status", "n/a", 0, 2)];
    assert_eq!(shards.append(P0, first, 3, None), unruly(1, 0));
    let frozen = shards.freeze().unwrap();
    let cut: Vec<_> = frozen.rows.iter().filter(|(key, _)| key.stream.as_str() == "web").collect();
    let status: Vec<_> =
        cut[0].1.rows().map(|row| row.record.attributes.get("status").cloned().unwrap()).collect();
    assert_eq!(status, [millrace_model::Value::Int(500), "n/a".into()]);
    assert_eq!(cut[0].1.fields().conflicts.get("status"), Some(&1));
    assert!(
        frozen
            .rows
            .iter()
            .filter(|(key, _)| key.stream.as_str() != "web")
            .all(|(_, rows)| rows.fields().is_empty())
    );

    let second = vec![with("other", "x", 0, 3), with("other", "x", 7, 4), with("status", "1", 0, 5)];
    assert_eq!(shards.append(P0, second, 6, None), unruly(0, 1), "another bucket has room of its own");
}
