//! What stands around a record in its own source: by position, whatever the times say.

use crate::{Missing, SearchRequest, Searcher};
use millrace_filter::Filter;
use millrace_model::{RecordId, Row, Sight, TimeRange};
use millrace_store::{Leaf, Order};

/// So many records of a stretch of the source are looked at at once.
const PAGE: usize = 4_000;
/// The first stretch is as long as lines of this many bytes would be.
const LINE: u64 = 512;
/// Of a stretch that gave too little, the next is so many times as long.
const WIDER: u64 = 16;

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Surroundings {
    /// The records before it, by position.
    pub before: Vec<Row>,
    /// It. `None`: there is no such record.
    pub hit: Option<Row>,
    /// The records after it, by position.
    pub after: Vec<Row>,
    /// What may be missing.
    pub missing: Vec<Missing>,
}

impl<L: Leaf> Searcher<L> {
    /// The records next to this one: so many before it, so many after it, and it.
    ///
    /// # Errors
    /// Only when the catalogue cannot be read.
    pub async fn around(
        &self,
        id: RecordId,
        before: usize,
        after: usize,
        sight: &Sight,
    ) -> Result<Surroundings, millrace_catalogue::Error> {
        let mut found = Surroundings::default();
        let place = self.stretch(id, (id.position, id.position), sight, &mut found.missing).await?;
        found.hit = place.iter().find(|row| row.id == id).cloned();
        if found.hit.is_none() {
            return Ok(found);
        }
        let beside = |row: &Row| row.id.index.cmp(&id.index);
        let (mut same_before, mut same_after) = (Vec::new(), Vec::new());
        for row in place {
            match beside(&row) {
                std::cmp::Ordering::Less => same_before.push(row),
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Greater => same_after.push(row),
            }
        }
        found.before = self.beside(id, before, Side::Before, same_before, sight, &mut found.missing).await?;
        found.after = self.beside(id, after, Side::After, same_after, sight, &mut found.missing).await?;
        Ok(found)
    }

    /// As many as `wanted` on one side of a record, by position; `known` are those at its own position.
    async fn beside(
        &self,
        id: RecordId,
        wanted: usize,
        side: Side,
        known: Vec<Row>,
        sight: &Sight,
        missing: &mut Vec<Missing>,
    ) -> Result<Vec<Row>, millrace_catalogue::Error> {
        let mut all = known;
        // How far was looked, and how far is looked next.
        let mut edge = id.position;
        let mut width = LINE * wanted as u64;
        while all.len() < wanted
            && let Some((from, to)) = side.next(edge, width)
        {
            let some = self.stretch(id, (from, to), sight, missing).await?;
            if some.len() >= PAGE && from < to {
                // More than were given: nobody knows which of them are the nearest.
                width = (width / WIDER).max(1);
                continue;
            }
            edge = if side == Side::Before { from } else { to };
            width = width.saturating_mul(WIDER);
            all.extend(some);
        }
        all.sort_by_key(|row| (row.id.position, row.id.index));
        let left_out = all.len().saturating_sub(wanted);
        match side {
            Side::Before => drop(all.drain(..left_out)),
            Side::After => all.truncate(wanted),
        }
        Ok(all)
    }

    /// The records of the source of `id` from one position to another, both included; no more than a page.
    async fn stretch(
        &self,
        id: RecordId,
        (from, to): (u64, u64),
        sight: &Sight,
        missing: &mut Vec<Missing>,
    ) -> Result<Vec<Row>, millrace_catalogue::Error> {
        let request = SearchRequest {
            filter: of_source(id, from, to),
            range: TimeRange::ALL,
            streams: None,
            sight: sight.clone(),
            limit: PAGE,
            order: Order::OldestFirst,
            after: None,
            histogram: None,
            gather: None,
        };
        let found = self.search(&request).await?;
        for one in found.missing {
            if !missing.contains(&one) {
                missing.push(one);
            }
        }
        Ok(found.hits)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

impl Side {
    /// The stretch next to `edge` on this side, both ends included; `None`: there is nothing there.
    fn next(self, edge: u64, width: u64) -> Option<(u64, u64)> {
        // Positions are searched as signed numbers.
        let most = i64::MAX as u64;
        match self {
            Self::Before => {
                let to = edge.checked_sub(1)?;
                Some((edge.saturating_sub(width.max(1)), to))
            }
            Self::After => {
                let from = edge.checked_add(1).filter(|from| *from <= most)?;
                Some((from, edge.saturating_add(width.max(1)).min(most)))
            }
        }
    }
}

fn of_source(id: RecordId, from: u64, to: u64) -> Filter {
    let text = format!("_source:\"{}\" _position:[{from} TO {to}]", id.source);
    millrace_filter::parse(&text).unwrap_or(Filter::ALL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::SourceId;

    #[test]
    fn stretches_touch_and_end_where_positions_do() {
        assert_eq!(Side::Before.next(100, 30), Some((70, 99)));
        assert_eq!(Side::Before.next(70, 480), Some((0, 69)));
        assert_eq!(Side::Before.next(0, 30), None);
        assert_eq!(Side::After.next(100, 30), Some((101, 130)));
        assert_eq!(Side::After.next(i64::MAX as u64, 30), None);
        assert_ne!(of_source(RecordId { source: SourceId(7), position: 1, index: 0 }, 1, 5), Filter::ALL);
    }
}
