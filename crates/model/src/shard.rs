//! What is known of a sealed shard without opening it: the row in the catalogue and the footer of its bundle.

use crate::{Declarations, Partition, ShardId, StreamName, Timestamp, TopicId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// `[from, to)` of one partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OffsetRange {
    /// The topic's name.
    pub topic: String,
    /// Which incarnation of it, where that is known.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: Partition,
    /// The first offset inside.
    pub from: i64,
    /// The first offset after.
    pub to: i64,
}

impl OffsetRange {
    /// All offsets that lie in any of `ranges`, in as few ranges as can say it, in order: what touches or overlaps is one,
    /// what is empty is none. Two sets of ranges hold the same offsets exactly if their unions are equal.
    pub fn union<'a>(ranges: impl IntoIterator<Item = &'a OffsetRange>) -> Vec<OffsetRange> {
        let mut sorted: Vec<&OffsetRange> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        sorted.sort_unstable();
        let mut union: Vec<OffsetRange> = Vec::new();
        for range in sorted {
            match union.last_mut() {
                Some(last) if last.is_of_same(range) && range.from <= last.to => {
                    last.to = last.to.max(range.to);
                }
                _ => union.push(range.clone()),
            }
        }
        union
    }

    /// Does no offset lie inside?
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    /// Same incarnation of the topic, same partition?
    fn is_of_same(&self, other: &OffsetRange) -> bool {
        self.partition == other.partition && self.topic == other.topic && self.topic_id == other.topic_id
    }
}

/// A sealed shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardMeta {
    /// Its id.
    pub id: ShardId,
    /// The layout of the bundle.
    pub schema_version: u32,
    /// The stream whose records it holds.
    pub stream: StreamName,
    /// The earliest record's time.
    pub first: Timestamp,
    /// The latest record's time (inside).
    pub last: Timestamp,
    /// How many records.
    pub records: u64,
    /// The bundle's size in bytes.
    pub bytes: u64,
    /// SHA-256 of the bundle up to its footer, in hexadecimal.
    pub sha256: String,
    /// Where the bundle lies in the store of bundles.
    pub key: String,
    /// The offsets that its cut covered.
    pub offsets: Vec<OffsetRange>,
    /// When it was sealed.
    pub created: Timestamp,
    /// How often its records were rewritten since they were sealed, at most: 0 as sealed.
    #[serde(default)]
    pub rewrites: u32,
    /// The start of the time bucket that all of its records lie in; `None`: several buckets share it, or nobody knows.
    #[serde(default)]
    pub bucket: Option<Timestamp>,
    /// The number of the last deletion that its records have been through. The catalogue knows better of a shard that no
    /// deletion found anything in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deletions: u64,
    /// What was declared of its records' fields, and what did not keep to it.
    #[serde(default, skip_serializing_if = "ShardFields::is_empty")]
    pub fields: ShardFields,
}

/// What is said of the fields of a shard's records. Counts are of the records as they were taken in: what deletions have
/// removed since is still in them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShardFields {
    /// The declarations that its records were taken in under, each once, sorted. None of them: nothing was declared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<Declarations>,
    /// How many records have a value of another type than is declared, by field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conflicts: BTreeMap<String, u64>,
    /// How many records were kept whole because their stream had brought as many fields as it may.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub beyond: u64,
}

impl ShardFields {
    /// Is there nothing to say?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds counts.
    pub fn add(&mut self, counted: &ShardFields) {
        for (field, records) in &counted.conflicts {
            *self.conflicts.entry(field.clone()).or_default() += records;
        }
        self.beyond += counted.beyond;
    }

    /// What is said of the records of several shards together.
    pub fn union<'a>(shards: impl IntoIterator<Item = &'a ShardFields>) -> Self {
        let mut union = Self::default();
        let mut declared = BTreeSet::new();
        for fields in shards {
            declared.extend(fields.declared.iter().cloned());
            if fields.declared.is_empty() {
                declared.insert(Declarations::default());
            }
            union.add(fields);
        }
        // No declarations beside none at all are nothing to speak of.
        if declared.iter().any(|declarations| !declarations.is_empty()) {
            union.declared = declared.into_iter().collect();
        }
        union
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::FieldType;
    use proptest::prelude::*;

    fn range(partition: i32, from: i64, to: i64) -> OffsetRange {
        OffsetRange { topic: "t".to_owned(), topic_id: None, partition: Partition(partition), from, to }
    }

    #[test]
    fn a_union_joins_what_touches_and_keeps_what_does_not() {
        let ranges = [range(1, 0, 5), range(0, 10, 20), range(0, 0, 10), range(0, 25, 30), range(0, 7, 7)];
        assert_eq!(OffsetRange::union(&ranges), [range(0, 0, 20), range(0, 25, 30), range(1, 0, 5)]);
        let anew = OffsetRange { topic_id: Some(TopicId(1)), ..range(0, 20, 25) };
        let both = OffsetRange::union([&ranges[1], &anew]);
        assert_eq!(both, [ranges[1].clone(), anew], "offsets of another topic are others");
        assert!(OffsetRange::union(&[range(0, 3, 3)]).is_empty());
    }

    #[test]
    fn a_shard_from_before_merges_can_be_read() {
        let json = r#"{"id":"00000000000000000000000000000001","schema_version":1,"stream":"app",
            "first":"2026-01-15T00:00:00.000000000Z","last":"2026-01-15T00:01:00.000000000Z","records":4,"bytes":5641,
            "sha256":"387b","key":"app/00000000000000000000000000000001.shard",
            "offsets":[{"topic":"millrace.logs","topic_id":null,"partition":2,"from":70,"to":74}],
            "created":"1970-01-01T00:00:00.000000099Z"}"#;
        let shard: ShardMeta = serde_json::from_str(json).unwrap();
        assert_eq!((shard.rewrites, shard.bucket), (0, None));
        assert!(shard.fields.is_empty());
        let written = serde_json::to_string(&shard).unwrap();
        assert!(!written.contains("fields"), "what has nothing to say says nothing: {written}");
    }

    #[test]
    fn fields_of_several_shards_name_each_declaration_once_and_add_up() {
        let declared = |kind| [("status".to_owned(), kind)].into_iter().collect::<Declarations>();
        let of = |kind, conflicts: u64| ShardFields {
            declared: vec![declared(kind)],
            conflicts: [("status".to_owned(), conflicts)].into_iter().filter(|(_, n)| *n > 0).collect(),
            beyond: 1,
        };
        let (number, text) = (of(FieldType::Number, 3), of(FieldType::Text, 0));
        let all = ShardFields::union([&number, &text, &number, &ShardFields::default()]);
        let declarations =
            vec![Declarations::default(), declared(FieldType::Number), declared(FieldType::Text)];
        assert_eq!(all.declared, declarations, "the empty one stands for the shard without any");
        assert_eq!((all.conflicts.get("status"), all.beyond), (Some(&6), 3));
        assert_eq!(ShardFields::union([&all]), all);
        assert!(ShardFields::union([&ShardFields::default(); 2]).is_empty());
        let json = serde_json::to_string(&number).unwrap();
        assert_eq!(json, r#"{"declared":[{"status":"number"}],"conflicts":{"status":3},"beyond":1}"#);
        assert_eq!(serde_json::from_str::<ShardFields>(&json).unwrap(), number);
    }

    proptest! {
        #[test]
        fn a_union_holds_the_same_offsets(ranges in prop::collection::vec((0..3i32, 0..40i64, 0..9i64), 0..12)) {
            let ranges: Vec<_> = ranges.iter().map(|&(p, from, length)| range(p, from, from + length)).collect();
            let offsets = |ranges: &[OffsetRange]| -> BTreeSet<(i32, i64)> {
                ranges.iter().flat_map(|r| (r.from..r.to).map(|offset| (r.partition.0, offset))).collect()
            };
            let union = OffsetRange::union(&ranges);
            prop_assert_eq!(offsets(&union), offsets(&ranges));
            prop_assert_eq!(&OffsetRange::union(&union), &union);
            for pair in union.windows(2) {
                prop_assert!(pair[0].partition < pair[1].partition || pair[0].to < pair[1].from);
            }
        }
    }
}
