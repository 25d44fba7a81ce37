//! Answers found without the store: every line of the file is looked at, and nothing of the project cuts, folds or
//! matches them. They say whether the store's are right.

use crate::{meter::Outcome, questions::Query};
use millrace_model::Timestamp;
use std::{collections::BTreeMap, collections::VecDeque, path::Path};

const HOUR: i64 = 3_600_000_000_000;
/// The width of a bucket.
pub(crate) const BUCKET: i64 = 600_000_000_000;
/// How many of the latest are kept.
pub(crate) const LATEST: usize = 20;

/// A line as it is written, and with small ASCII letters.
pub(crate) struct Line<'a> {
    pub(crate) text: &'a str,
    pub(crate) folded: &'a str,
}

/// What a query must answer.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) count: u64,
    /// Where the latest begin in the file, the latest first.
    pub(crate) latest: VecDeque<u64>,
    pub(crate) buckets: BTreeMap<i64, u64>,
}

/// The first instant of the corpus's day.
pub(crate) fn midnight(first: Timestamp) -> Timestamp {
    Timestamp(first.0.div_euclid(24 * HOUR) * 24 * HOUR)
}

/// The times that a query is about.
pub(crate) fn hours(midnight: Timestamp, hours: (u64, u64)) -> std::ops::Range<Timestamp> {
    let at = |hour: u64| Timestamp(midnight.0 + hour as i64 * HOUR);
    at(hours.0)..at(hours.1)
}

/// The answers of the first `lines` lines of a file that is in order of time.
pub(crate) fn answers(file: &Path, lines: usize, queries: &[Query]) -> Outcome<Vec<Answer>> {
    let text = std::fs::read_to_string(file)?;
    let mut answers: Vec<Answer> = queries.iter().map(|_| Answer::default()).collect();
    let (mut folded, mut position, mut last) = (String::new(), 0u64, Timestamp::MIN);
    let mut day = None;
    for line in text.split_inclusive('\n').take(lines) {
        let time = time(line)?;
        if time < last {
            return Err(format!("the line at byte {position} is earlier than the one before").into());
        }
        last = time;
        let midnight = *day.get_or_insert_with(|| midnight(time));
        folded.clear();
        folded.push_str(line);
        folded.make_ascii_lowercase();
        let seen = Line { text: line, folded: &folded };
        for (query, answer) in queries.iter().zip(&mut answers) {
            let due = query.hours.is_none_or(|of| hours(midnight, of).contains(&time));
            if due && (query.matches)(&seen) {
                answer.count += 1;
                *answer.buckets.entry(time.0.div_euclid(BUCKET) * BUCKET).or_insert(0) += 1;
                answer.latest.push_front(position);
                answer.latest.truncate(LATEST);
            }
        }
        position += line.len() as u64;
    }
    Ok(answers)
}

/// How many lines have each text under a key of their object.
pub(crate) fn values(file: &Path, lines: usize, key: &str) -> Outcome<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    let text = std::fs::read_to_string(file)?;
    for line in text.lines().take(lines) {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line)?;
        if let Some(text) = object.get(key).and_then(serde_json::Value::as_str) {
            *counts.entry(text.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

/// The line's own time.
pub(crate) fn time(line: &str) -> Outcome<Timestamp> {
    let (_, rest) = line.split_once("\"timestamp\":\"").ok_or("a line without a timestamp")?;
    let (time, _) = rest.split_once('"').ok_or("a timestamp without an end")?;
    Ok(time.parse()?)
}

/// Does `part` stand somewhere?
pub(crate) fn infix(text: &str, part: &str) -> bool {
    text.contains(part)
}

/// Does `wanted` stand somewhere as a whole word?
pub(crate) fn word(text: &str, wanted: &str) -> bool {
    places(text, wanted).next().is_some()
}

/// Do two words stand side by side?
pub(crate) fn phrase(text: &str, first: &str, second: &str) -> bool {
    places(text, first).any(|at| {
        let behind = text[at + first.len()..].trim_start_matches(|c: char| !is_word(c));
        behind.strip_prefix(second).is_some_and(|rest| !rest.starts_with(is_word))
    })
}

/// `blk_-?[0-9]{5}7`
pub(crate) fn block_with_seven(text: &str) -> bool {
    text.match_indices("blk_").any(|(at, _)| {
        let behind = &text.as_bytes()[at + 4..];
        let digits = behind.strip_prefix(b"-").unwrap_or(behind);
        digits.get(..5).is_some_and(|five| five.iter().all(u8::is_ascii_digit))
            && digits.get(5) == Some(&b'7')
    })
}

fn places<'a>(text: &'a str, wanted: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(wanted)
        .map(|(at, _)| at)
        .filter(move |at| !text[..*at].ends_with(is_word) && !text[at + wanted.len()..].starts_with(is_word))
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
