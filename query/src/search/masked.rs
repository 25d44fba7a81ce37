//! Searches of who may not see all fields. Each record is looked at as it is shown to them, so that nothing that is asked, no filter,
//! count or pipe, tells what is hidden. Where only what every record has is asked for, leaves answer as ever; else the records pass
//! through this node, one by one.
//!
//! **Invariant.** The answer is the one that there would be if the records had never held what is hidden.

use super::{Hits, Missing, SearchRequest, Searcher, explain::Explanation, plan, walk::Walk};
use millrace_filter::{Expr, Filter, Text};
use millrace_model::{FieldRef, Partition, Row, Sight, StreamName};
use millrace_store::{HotRow, HotRows, Leaf, LeafRequest, LeafResponse};
use std::collections::BTreeMap;

/// So many records pass through at a time.
const PAGE: usize = 5_000;

/// Is something hidden in what is searched?
pub(super) fn hides(request: &SearchRequest) -> bool {
    let masks = &request.sight.masks;
    masks.hide_anything()
        && request.streams.as_ref().is_none_or(|streams| streams.iter().any(|stream| masks.hide_in(stream)))
}

impl<L: Leaf> Searcher<L> {
    /// Answers one search, and says how the records were come by.
    pub(super) async fn search_masked(
        &self,
        request: &SearchRequest,
        explain: bool,
    ) -> Result<(Hits, Explanation), millrace_catalogue::Error> {
        let masks = &request.sight.masks;
        let gathers_open = |gather: &millrace_pipes::Fragments| gather.fields().iter().all(is_open);
        if asks_open(request.filter.root()) && request.gather.as_ref().is_none_or(gathers_open) {
            let (mut found, told) = self.carry_out_whole(request, explain).await?;
            found.hits = found.hits.into_iter().map(|row| masks.apply(row)).collect();
            return Ok((found, told));
        }
        let all = SearchRequest {
            filter: wider(&request.filter),
            sight: Sight::whole(request.sight.grant.clone()),
            after: None,
            histogram: None,
            gather: None,
            limit: 0,
            ..request.clone()
        };
        let told = if explain { self.carry_out_whole(&all, true).await?.1 } else { Explanation::default() };
        let leaf = LeafRequest { filter: Filter::ALL, ..plan::leaf_request(request) };
        let mut answer = LeafResponse::default();
        let mut missing: Vec<Missing> = Vec::new();
        let mut walk = Walk::new(all, PAGE);
        while let Some(page) = walk.next(self).await? {
            for one in page.missing {
                if !missing.contains(&one) {
                    missing.push(one);
                }
            }
            let (filter, masks, asked) = (request.filter.clone(), masks.clone(), leaf.clone());
            let rows = page.hits;
            let looking = self.try_on_a_core(move |turn| {
                let shown = rows.into_iter().map(|row| masks.apply(row));
                let matching = shown.filter(|row| filter.matches(&row.placed()));
                let found =
                    by_stream(matching).into_values().map(|rows| rows.search(&asked, i64::MIN, Some(turn)));
                found.collect::<Result<Vec<LeafResponse>, _>>()
            });
            let broken_off = match looking.await {
                Ok(Ok(found)) => {
                    answer = found.into_iter().fold(answer, |all, one| all.merge(one, &leaf));
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            missing.extend(broken_off.map(|error| Missing::of(format!("a search broke off: {error}"))));
            answer.scanned_bytes += page.scanned_bytes;
        }
        Ok((Hits::of(answer, missing), told))
    }
}

/// Rows as leaves keep them: of one stream each.
fn by_stream(rows: impl Iterator<Item = Row>) -> BTreeMap<StreamName, HotRows> {
    let mut streams: BTreeMap<StreamName, Vec<HotRow>> = BTreeMap::new();
    for row in rows {
        let stream = row.stream.clone();
        streams.entry(stream).or_default().push(HotRow { partition: Partition(0), offset: 0, row });
    }
    streams.into_iter().map(|(stream, rows)| (stream, rows.into_iter().collect())).collect()
}

/// Is it of what every record has, and what cannot be hidden?
fn is_open(field: &FieldRef) -> bool {
    matches!(
        field,
        FieldRef::Level
            | FieldRef::SeverityNumber
            | FieldRef::Timestamp
            | FieldRef::ObservedTimestamp
            | FieldRef::Id
            | FieldRef::Source
            | FieldRef::Position
            | FieldRef::Stream
    )
}

/// Does a filter ask only for that?
fn asks_open(expr: &Expr) -> bool {
    match expr {
        Expr::All => true,
        Expr::And(terms) | Expr::Or(terms) => terms.iter().all(asks_open),
        Expr::Not(inner) => asks_open(inner),
        Expr::Text(_) => false,
        Expr::Field(test) => is_open(&test.field),
    }
}

/// A filter that finds all records which this one finds once their fields are hidden.
fn wider(filter: &Filter) -> Filter {
    let terms = match filter.root() {
        Expr::And(terms) => terms.clone(),
        other => vec![other.clone()],
    };
    Filter::new(Expr::all_of(terms.into_iter().filter(|term| asks_open(term) || is_word(term)).collect()))
}

/// A word of the line: hiding takes words out of it and puts none in. What it leaves of a word that was hidden in part
/// begins or ends with `_`.
fn is_word(term: &Expr) -> bool {
    let Expr::Text(Text::Phrase { tokens, .. }) = term else { return false };
    matches!(tokens.as_slice(), [token] if !token.starts_with('_') && !token.ends_with('_'))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use millrace_model::{Grant, LogRecord, Masks, RecordId, SourceId, Timestamp};
    use proptest::prelude::*;

    #[test]
    fn what_is_asked_of_the_index_is_never_narrower() {
        for (query, wide) in [
            ("error level:warn user:ann", "error level:warn"),
            ("level:warn OR user:ann", "*"),
            ("-error", "*"),
            ("\"two words\"", "*"),
            ("_x", "*"),
            ("-level:warn _stream:app", "-level:warn _stream:app"),
        ] {
            let filter = millrace_filter::parse(query).unwrap();
            assert_eq!(wider(&filter), millrace_filter::parse(wide).unwrap(), "{query}");
        }
    }

    proptest! {
        /// Whatever a record says and a filter asks: what matches once it is hidden is found by the wider filter.
        #[test]
        fn hidden_records_are_found(
            filter in millrace_filter::arbitrary::filter(),
            words in prop::collection::vec(prop::sample::select(millrace_filter::arbitrary::WORDS), 0..6),
            joins in prop::collection::vec(prop::sample::select(&[" ", "_", "-", "\"", "=", ""][..]), 6),
            hidden in prop::sample::select(millrace_filter::arbitrary::WORDS),
        ) {
            let body: String = words.iter().zip(&joins).flat_map(|(word, join)| [*word, *join]).collect();
            let mut record = LogRecord { body: body.into(), ..LogRecord::default() };
            record.attributes.set("secret", hidden);
            let row = Row {
                id: RecordId { source: SourceId(1), position: 0, index: 0 },
                stream: "app".parse().unwrap(),
                time: Timestamp(0),
                record,
            };
            let masks = Masks::new(["secret"], Grant::Streams([].into())).unwrap();
            if filter.matches(&masks.apply(row.clone()).placed()) {
                prop_assert!(wider(&filter).matches(&row.placed()), "{filter} on {:?}", row.record.body);
            }
        }
    }
}
