//! Aggregations over the series of a vector, step by step.

use crate::{
    ast::{Aggregate, AggregateOp},
    entry::Labels,
    evaluate::Row,
    series::grouped,
};
use std::{cmp::Ordering, collections::BTreeMap};

pub(crate) fn aggregate(aggregate: &Aggregate, rows: Vec<Row>, steps: usize) -> Vec<Row> {
    let keep = aggregate.parameter.unwrap_or(0);
    match aggregate.op {
        AggregateOp::Sort => sorted(rows, steps, false),
        AggregateOp::SortDesc => sorted(rows, steps, true),
        AggregateOp::Topk | AggregateOp::ApproxTopk => best(aggregate, rows, steps, keep, true),
        AggregateOp::Bottomk => best(aggregate, rows, steps, keep, false),
        op => groups(aggregate, rows)
            .into_iter()
            .map(|(labels, rows)| joined(op, labels, &rows, steps))
            .collect(),
    }
}

fn groups(aggregate: &Aggregate, rows: Vec<Row>) -> BTreeMap<Labels, Vec<Row>> {
    let grouping = aggregate.grouping.clone().unwrap_or_default();
    let mut groups: BTreeMap<Labels, Vec<Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(grouped(&row.labels, &grouping)).or_default().push(row);
    }
    groups
}

fn joined(op: AggregateOp, labels: Labels, rows: &[Row], steps: usize) -> Row {
    let at = |step: usize| {
        let mut values = rows.iter().filter_map(|row| row.values.get(step).copied().flatten());
        let first = values.next()?;
        Some(match op {
            AggregateOp::Sum => values.fold(first, |sum, value| sum + value),
            AggregateOp::Count => 1.0 + values.count() as f64,
            AggregateOp::Min => values.fold(first, |a, b| if b < a || a.is_nan() { b } else { a }),
            AggregateOp::Max => values.fold(first, |a, b| if b > a || a.is_nan() { b } else { a }),
            _ => {
                let (mut count, mut mean, mut squares) = (1.0, first, 0.0);
                for value in values {
                    count += 1.0;
                    let apart = value - mean;
                    mean += apart / count;
                    squares += apart * (value - mean);
                }
                match op {
                    AggregateOp::Avg => mean,
                    AggregateOp::Stdvar => squares / count,
                    _ => (squares / count).sqrt(),
                }
            }
        })
    };
    Row { values: (0..steps).map(at).collect(), labels }
}

/// Larger ones first; what is no number last, whichever way.
fn rank(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) if descending => b.total_cmp(&a),
        (false, false) => a.total_cmp(&b),
        (a, b) => a.cmp(&b),
    }
}

/// At each step the series of each group with the largest or smallest values.
fn best(aggregate: &Aggregate, rows: Vec<Row>, steps: usize, keep: usize, largest: bool) -> Vec<Row> {
    let mut kept = Vec::new();
    for (_, mut rows) in groups(aggregate, rows) {
        for step in 0..steps {
            let values =
                rows.iter().enumerate().filter_map(|(nth, row)| Some((row.values.get(step).copied()??, nth)));
            let mut ranked: Vec<(f64, usize)> = values.collect();
            ranked.sort_by(|a, b| rank(a.0, b.0, largest));
            for (_, nth) in ranked.into_iter().skip(keep) {
                if let Some(value) = rows.get_mut(nth).and_then(|row| row.values.get_mut(step)) {
                    *value = None;
                }
            }
        }
        kept.extend(rows);
    }
    // Of one step the answer is in order.
    if steps == 1 { sorted(kept, steps, largest) } else { kept }
}

/// Only where there is one step; over several there is no order.
fn sorted(mut rows: Vec<Row>, steps: usize, descending: bool) -> Vec<Row> {
    let value = |row: &Row| row.values.first().copied().flatten().unwrap_or(f64::NAN);
    if steps == 1 {
        rows.sort_by(|a, b| rank(value(a), value(b), descending));
    }
    rows
}
