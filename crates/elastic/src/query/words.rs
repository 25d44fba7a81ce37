//! Words and phrases of analysed text.

use super::{Leaf, all, any, escape, none};
use crate::{Error, fields::Kind};
use millrace_filter::{Expr, Glob, GlobPart, Text};
use millrace_model::{
    Number,
    text::{fold, token_ranges, tokens},
};

/// These words, which are folded, side by side, as a part of an expression.
pub(crate) fn side_by_side(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| escape(word)).collect();
    words.join(r"\W+")
}

/// The most ways in which words may lie apart in a phrase.
const MAX_GAPS: usize = 64;

/// A text cut into words, as Elasticsearch's standard analyser does it: dots and apostrophes inside of words belong to them. Each
/// piece is at least one word of the filter language.
pub(crate) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces: Vec<std::ops::Range<usize>> = Vec::new();
    for range in token_ranges(text) {
        if let Some(last) = pieces.last_mut()
            && joins(text, last.end, range.start)
        {
            last.end = range.end;
            continue;
        }
        pieces.push(range);
    }
    pieces.into_iter().map(|range| &text[range]).collect()
}

/// Does what stands between two words make one of them?
fn joins(text: &str, end: usize, start: usize) -> bool {
    let before = text[..end].chars().next_back();
    let after = text[start..].chars().next();
    let (Some(before), Some(after)) = (before, after) else { return false };
    let digits = before.is_numeric() && after.is_numeric();
    let letters = before.is_alphabetic() && after.is_alphabetic();
    match &text[end..start] {
        "." | "'" | "\u{2019}" => digits || letters,
        "," | ";" => digits,
        _ => false,
    }
}

/// These words side by side.
pub(crate) fn phrase(leaf: &Leaf, text: &str) -> Expr {
    let words = tokens(text);
    if words.is_empty() {
        return none();
    }
    match leaf.field.kind {
        Kind::Line => Expr::Text(Text::phrase(text)),
        Kind::Dynamic => dynamic(leaf, text, &words),
        _ => leaf.equals(text),
    }
}

/// What is not declared may be a text, a number or a flag.
fn dynamic(leaf: &Leaf, text: &str, words: &[String]) -> Expr {
    let side_by_side = side_by_side(words);
    let Ok(words) = leaf.regex(&format!(r"(?i)\b{side_by_side}\b")) else { return leaf.equals(text) };
    if Number::parse(text).is_none() {
        return words;
    }
    // A word of a text, not of a number: that is equal or not.
    let Ok(is_text) = leaf.regex("[^-+.0-9eE]") else { return leaf.equals(text) };
    any(vec![leaf.equals(text), all(vec![words, is_text])])
}

/// These words in this order, no more than `slop` others among them.
pub(crate) fn sloppy(leaf: &Leaf, text: &str, slop: usize) -> Result<Expr, Error> {
    let words = tokens(text);
    if slop == 0 || words.len() < 2 {
        return Ok(phrase(leaf, text));
    }
    let mut ways = Vec::new();
    spread(words.len() - 1, slop, &mut Vec::new(), &mut ways);
    if ways.len() > MAX_GAPS || words.len() > 20 {
        return Err(Error::argument(format!(
            "[match_phrase] slop [{slop}] over [{}] words is more than can be carried out",
            words.len()
        )));
    }
    // Each word for itself is what an index can answer.
    let mut terms: Vec<Expr> = words.iter().map(|word| phrase(leaf, word)).collect();
    let mut alternatives: Vec<String> = ways.iter().map(|gaps| apart(&words, gaps)).collect();
    if slop >= 2 && words.len() == 2 {
        let turned = [words[1].clone(), words[0].clone()];
        alternatives.extend((0..=slop - 2).map(|gap| apart(&turned, &[gap])));
    }
    // Each an expression of its own: what is no word takes much room in one.
    let ways = alternatives.iter().map(|way| leaf.regex(&format!("(?i){way}")));
    terms.push(any(ways.collect::<Result<_, _>>()?));
    Ok(all(terms))
}

/// All ways to spread up to `slop` words over so many gaps.
fn spread(gaps: usize, slop: usize, so_far: &mut Vec<usize>, ways: &mut Vec<Vec<usize>>) {
    if ways.len() > MAX_GAPS {
        return;
    }
    if gaps == 0 {
        // Fewer words are a way of their own; only those that use all of it or are shorter are told apart by `{0,n}`.
        ways.push(so_far.clone());
        return;
    }
    for here in 0..=slop {
        so_far.push(here);
        spread(gaps - 1, slop - here, so_far, ways);
        so_far.pop();
    }
}

fn apart(words: &[String], gaps: &[usize]) -> String {
    let mut text = String::from(r"\b");
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            let gap = gaps.get(at - 1).copied().unwrap_or(0);
            text.push_str(r"\W+");
            if gap > 0 {
                text.extend([r"(?:\w+\W+){", &gap.to_string(), "}"]);
            }
        }
        text.push_str(&escape(word));
    }
    text.push_str(r"\b");
    text
}

/// These words side by side, of which the last may go on.
pub(crate) fn phrase_prefix(leaf: &Leaf, text: &str) -> Result<Expr, Error> {
    let words = tokens(text);
    let Some((last, before)) = words.split_last() else { return Ok(none()) };
    if before.is_empty() {
        return word_prefix(leaf, last);
    }
    let side_by_side = side_by_side(&words);
    let whole = leaf.regex(&format!(r"(?i)\b{side_by_side}"))?;
    if leaf.field.kind == Kind::Dynamic {
        return Ok(whole);
    }
    let end = token_ranges(text).nth(before.len() - 1).map_or(0, |range| range.end);
    Ok(all(vec![phrase(leaf, &text[..end]), whole]))
}

/// A word that begins so.
pub(crate) fn word_prefix(leaf: &Leaf, word: &str) -> Result<Expr, Error> {
    let folded = fold(word);
    if leaf.field.kind == Kind::Dynamic {
        return leaf.regex(&format!(r"(?i)\b{}", escape(&folded)));
    }
    let glob = Glob::new(vec![GlobPart::Literal(folded), GlobPart::Any]);
    Ok(match leaf.field.kind {
        Kind::Line => Expr::Text(Text::glob(glob)),
        _ => leaf.test(millrace_filter::Predicate::Glob(glob)),
    })
}
