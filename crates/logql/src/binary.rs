//! Operators between numbers and vectors, step by step.

use crate::{
    ast::{Binary, BinaryOp, Matching, MatchingKind, Side},
    entry::Labels,
    evaluate::{Computed, Row},
    series::{EvaluateError, shown},
};
use std::collections::BTreeMap;

/// What an operator gives for two numbers. `None`: the comparison does not hold.
fn apply(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    Some(match op {
        BinaryOp::Add => left + right,
        BinaryOp::Subtract => left - right,
        BinaryOp::Multiply => left * right,
        // As Loki has it, not infinite.
        BinaryOp::Divide if right == 0.0 => f64::NAN,
        BinaryOp::Divide => left / right,
        BinaryOp::Modulo => left % right,
        BinaryOp::Power => left.powf(right),
        BinaryOp::Compare(op) => return op.holds(&left, &right).then_some(left),
        BinaryOp::Or | BinaryOp::And | BinaryOp::Unless => return None,
    })
}

/// As [`apply`], with 0 or 1 for comparisons.
fn apply_bool(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    match op {
        BinaryOp::Compare(_) => Some(if apply(op, left, right).is_some() { 1.0 } else { 0.0 }),
        op => apply(op, left, right),
    }
}

pub(crate) fn binary(
    binary: &Binary,
    left: Computed,
    right: Computed,
    steps: usize,
) -> Result<Computed, EvaluateError> {
    let computes = if binary.bool { apply_bool } else { apply };
    Ok(match (left, right) {
        (Computed::Scalar(left), Computed::Scalar(right)) => {
            Computed::Scalar(apply_bool(binary.op, left, right).unwrap_or(f64::NAN))
        }
        (Computed::Rows(rows), Computed::Scalar(number)) => {
            Computed::Rows(each(rows, |value| computes(binary.op, value, number)))
        }
        (Computed::Scalar(number), Computed::Rows(rows)) => Computed::Rows(each(rows, |value| {
            let computed = computes(binary.op, number, value)?;
            // A comparison that filters keeps the vector's value.
            Some(if matches!(binary.op, BinaryOp::Compare(_)) && !binary.bool { value } else { computed })
        })),
        (Computed::Rows(left), Computed::Rows(right)) if binary.op.is_set() => {
            Computed::Rows(set(binary, left, right, steps))
        }
        (Computed::Rows(left), Computed::Rows(right)) => {
            Computed::Rows(matched(binary, left, right, steps, computes)?)
        }
    })
}

fn each(mut rows: Vec<Row>, compute: impl Fn(f64) -> Option<f64>) -> Vec<Row> {
    for value in rows.iter_mut().flat_map(|row| &mut row.values) {
        *value = value.and_then(&compute);
    }
    rows
}

/// The labels by which series belong together.
fn signature(labels: &Labels, matching: &Matching) -> Labels {
    let Some((kind, names)) = &matching.labels else { return labels.clone() };
    let on = *kind == MatchingKind::On;
    let kept = labels.iter().filter(|(name, _)| names.contains(name) == on);
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn by_signature<'r>(rows: &'r [Row], matching: &Matching) -> BTreeMap<Labels, Vec<&'r Row>> {
    let mut all: BTreeMap<Labels, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        all.entry(signature(&row.labels, matching)).or_default().push(row);
    }
    all
}

/// At which steps series of a signature have a value.
fn steps_by_signature(rows: &[Row], matching: &Matching) -> BTreeMap<Labels, Vec<bool>> {
    let there = |rows: Vec<&Row>| {
        let mut there = vec![false; rows.first().map_or(0, |row| row.values.len())];
        for row in rows {
            there.iter_mut().zip(&row.values).for_each(|(there, value)| *there |= value.is_some());
        }
        there
    };
    by_signature(rows, matching).into_iter().map(|(labels, rows)| (labels, there(rows))).collect()
}

fn has(there: Option<&Vec<bool>>, step: usize) -> bool {
    there.is_some_and(|there| there.get(step).copied().unwrap_or(false))
}

fn set(binary: &Binary, mut left: Vec<Row>, mut right: Vec<Row>, steps: usize) -> Vec<Row> {
    let matching = &binary.matching;
    if binary.op != BinaryOp::Or {
        let others = steps_by_signature(&right, matching);
        for row in &mut left {
            let others = others.get(&signature(&row.labels, matching));
            for step in 0..steps {
                if has(others, step) != (binary.op == BinaryOp::And) {
                    row.clear(step);
                }
            }
        }
        return left;
    }
    let others = steps_by_signature(&left, matching);
    for row in &mut right {
        let others = others.get(&signature(&row.labels, matching));
        for step in (0..steps).filter(|step| has(others, *step)) {
            row.clear(step);
        }
    }
    // A series may come from the left at one step and from the right at another.
    let mut rows: BTreeMap<Labels, Row> = BTreeMap::new();
    for row in left.into_iter().chain(right) {
        match rows.get_mut(&row.labels) {
            Some(found) => {
                found.fill(&row);
            }
            None => {
                rows.insert(row.labels.clone(), row);
            }
        }
    }
    rows.into_values().collect()
}

fn matched(
    binary: &Binary,
    left: Vec<Row>,
    right: Vec<Row>,
    steps: usize,
    compute: fn(BinaryOp, f64, f64) -> Option<f64>,
) -> Result<Vec<Row>, EvaluateError> {
    let matching = &binary.matching;
    let turned = matches!(matching.group, Some((Side::Right, _)));
    let (many, one) = if turned { (right, left) } else { (left, right) };
    let ones = by_signature(&one, matching);
    for (labels, rows) in ones.iter().filter(|(_, rows)| rows.len() > 1) {
        let twice = |step: &usize| rows.iter().filter(|row| row.at(*step).is_some()).count() > 1;
        if (0..steps).any(|step| twice(&step)) {
            return Err(EvaluateError::ManyMatches(shown(labels)));
        }
    }
    let mut results: BTreeMap<Labels, Row> = BTreeMap::new();
    for row in &many {
        for other in ones.get(&signature(&row.labels, matching)).into_iter().flatten() {
            let labels = result_labels(&row.labels, &other.labels, matching);
            let result = results
                .entry(labels)
                .or_insert_with_key(|labels| Row { labels: labels.clone(), values: vec![None; steps] });
            for step in 0..steps {
                let (Some(value), Some(other)) = (row.at(step), other.at(step)) else { continue };
                let (left, right) = if turned { (other, value) } else { (value, other) };
                let Some(value) = compute(binary.op, left, right) else { continue };
                if result.values[step].replace(value).is_some() {
                    return Err(EvaluateError::ManyMatches(shown(&result.labels)));
                }
            }
        }
    }
    Ok(results.into_values().collect())
}

fn result_labels(many: &Labels, one: &Labels, matching: &Matching) -> Labels {
    let Some((_, include)) = &matching.group else { return signature(many, matching) };
    let mut labels = many.clone();
    for name in include {
        match one.get(name) {
            Some(value) => labels.insert(name.clone(), value.clone()),
            None => labels.remove(name),
        };
    }
    labels
}
