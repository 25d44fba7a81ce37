//! The rules of the streams and buckets that rows come to. They outlive their hot shards: a bucket takes rows for as long
//! as it lasts, and which names of fields it has columns for is known all the while.

use crate::settings::StreamFields;
use millrace_model::{StreamName, Timestamp};
use millrace_store::FieldRules;
use std::collections::HashMap;

/// How many are known; the one that was asked for longest ago goes first, and begins anew when it is asked for again.
const KNOWN: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) fields: StreamFields,
    known: HashMap<(StreamName, Timestamp), (u64, FieldRules)>,
    uses: u64,
}

impl Rules {
    /// Those of a stream and bucket.
    pub(super) fn of(&mut self, stream: &StreamName, bucket: Timestamp) -> FieldRules {
        self.uses += 1;
        let key = (stream.clone(), bucket);
        if !self.known.contains_key(&key)
            && self.known.len() >= KNOWN
            && let Some(oldest) =
                self.known.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone())
        {
            self.known.remove(&oldest);
        }
        let (used, rules) = self.known.entry(key).or_insert_with(|| {
            let fields = self.fields.of(stream);
            (0, FieldRules::new(fields.declared, fields.most))
        });
        *used = self.uses;
        rules.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_that_was_asked_for_longest_ago_begins_anew() {
        let (mut rules, stream) = (Rules::default(), StreamName::default());
        rules.of(&stream, Timestamp(-1));
        for bucket in 0..2 * KNOWN as i64 {
            rules.of(&stream, Timestamp(-1));
            rules.of(&stream, Timestamp(bucket));
        }
        assert_eq!(rules.known.len(), KNOWN);
        assert!(rules.known.contains_key(&(stream.clone(), Timestamp(-1))), "it is in use");
        assert!(!rules.known.contains_key(&(stream, Timestamp(0))));
    }
}
