//! Expressions out of expressions, as small as they can be said.

use crate::Error;
use millrace_filter::Expr;

/// More than this many alternatives are not written out.
const MAX_ALTERNATIVES: usize = 16_384;

/// Nothing.
pub(crate) fn none() -> Expr {
    Expr::any_of(Vec::new())
}

fn is_none(expr: &Expr) -> bool {
    matches!(expr, Expr::Not(inner) if **inner == Expr::All)
}

/// All of these.
pub(crate) fn all(mut terms: Vec<Expr>) -> Expr {
    if terms.iter().any(is_none) {
        return none();
    }
    terms.retain(|term| *term != Expr::All);
    Expr::all_of(terms)
}

/// Any of these; nothing, where there are none.
pub(crate) fn any(mut terms: Vec<Expr>) -> Expr {
    if terms.contains(&Expr::All) {
        return Expr::All;
    }
    terms.retain(|term| !is_none(term));
    Expr::any_of(terms)
}

/// Not this.
pub(crate) fn not(expr: Expr) -> Expr {
    match expr {
        Expr::Not(inner) => *inner,
        other => Expr::Not(Box::new(other)),
    }
}

/// At least so many of these.
///
/// # Errors
/// It cannot be written out.
pub(crate) fn at_least(terms: Vec<Expr>, count: usize) -> Result<Expr, Error> {
    if count == 0 {
        return Ok(Expr::All);
    }
    // What always holds, and what never does, is counted now.
    let always = terms.iter().filter(|term| **term == Expr::All).count();
    let count = count.saturating_sub(always);
    let terms: Vec<Expr> = terms.into_iter().filter(|term| *term != Expr::All && !is_none(term)).collect();
    if count == 0 {
        return Ok(Expr::All);
    }
    if count > terms.len() {
        return Ok(none());
    }
    if count == terms.len() {
        return Ok(all(terms));
    }
    if count == 1 {
        return Ok(any(terms));
    }
    let size = alternatives(terms.len(), count);
    if size > MAX_ALTERNATIVES {
        return Err(Error::argument(format!(
            "minimum_should_match [{count}] of [{}] clauses is more than can be carried out",
            terms.len()
        )));
    }
    Ok(choose(&terms, count))
}

/// How many ways there are to choose `count` of `of`; saturates.
fn alternatives(of: usize, count: usize) -> usize {
    let count = count.min(of - count);
    (0..count)
        .try_fold(1usize, |ways, at| ways.checked_mul(of - at).map(|ways| ways / (at + 1)))
        .unwrap_or(usize::MAX)
}

fn choose(terms: &[Expr], count: usize) -> Expr {
    let firsts = 0..=terms.len() - count;
    let alternatives = firsts.map(|first| {
        let rest = &terms[first + 1..];
        if count == 1 {
            return terms[first].clone();
        }
        all(vec![terms[first].clone(), choose(rest, count - 1)])
    });
    any(alternatives.collect())
}

/// How deep an expression nests.
pub(crate) fn depth(expr: &Expr) -> usize {
    match expr {
        Expr::And(terms) | Expr::Or(terms) => 1 + terms.iter().map(depth).max().unwrap_or(0),
        Expr::Not(inner) => 1 + depth(inner),
        _ => 1,
    }
}

/// How many tests there are in an expression.
pub(crate) fn leaves(expr: &Expr) -> usize {
    match expr {
        Expr::And(terms) | Expr::Or(terms) => terms.iter().map(leaves).sum(),
        Expr::Not(inner) => leaves(inner),
        _ => 1,
    }
}
