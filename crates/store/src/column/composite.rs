//! Values that are the same text with runs of decimal digits in it: `10.0.0.1`, `web-007`, `attempt_20_m_000002_0`. Each
//! run is a column of numbers; one that is always the same is text too.

use super::{
    digits::{MOST_DIGITS, put_decimal},
    piece::Style,
    shape::{Part, Shape},
};
use crate::strings::Strings;
use std::ops::Range;

/// More runs of digits than this are seldom numbers.
const MOST_RUNS: usize = 14;

/// A run of digits in all values.
#[derive(Clone)]
pub(super) struct Run {
    /// The text before it, as a range of the first value.
    literal: Range<usize>,
    minimum: u64,
    maximum: u64,
    shortest: usize,
    longest: usize,
    /// How long those are that begin with a zero and have more digits.
    padded: Option<usize>,
    /// Are those of several lengths?
    ragged: bool,
}

impl Shape {
    /// Runs of decimal digits in the same text.
    pub(super) fn composite(&mut self, values: &Strings, first: &[u8]) -> bool {
        let Some(tail) = self.find_runs(first) else { return false };
        for _ in 0..self.runs.len() {
            self.add_column();
        }
        let tail = &first[tail..];
        for value in values.iter() {
            let mut rest = value;
            for (run, column) in self.runs.iter_mut().zip(&mut self.columns) {
                let Some((number, after)) = run.take(rest, first) else {
                    self.used = 0;
                    return false;
                };
                column.push(number);
                rest = after;
            }
            if rest != tail {
                self.used = 0;
                return false;
            }
        }
        self.composite_parts(values, first, tail);
        true
    }

    /// The runs of digits of the first value, and where they end; `None` if there are none or too many.
    fn find_runs(&mut self, first: &[u8]) -> Option<usize> {
        self.runs.clear();
        let (mut start, mut at) = (0, 0);
        while at < first.len() {
            if !first[at].is_ascii_digit() {
                at += 1;
                continue;
            }
            if self.runs.len() == MOST_RUNS {
                return None;
            }
            self.runs.push(Run {
                literal: start..at,
                minimum: u64::MAX,
                maximum: 0,
                shortest: usize::MAX,
                longest: 0,
                padded: None,
                ragged: false,
            });
            while first.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            start = at;
        }
        (!self.runs.is_empty()).then_some(start)
    }

    fn composite_parts(&mut self, values: &Strings, first: &[u8], tail: &[u8]) {
        let runs = std::mem::take(&mut self.runs);
        for (column, run) in runs.iter().enumerate() {
            self.push_literal(&first[run.literal.clone()]);
            if run.minimum == run.maximum && run.shortest == run.longest {
                let mut digits = Vec::new();
                put_decimal(run.minimum, run.shortest as u8, &mut digits);
                self.push_literal(&digits);
            } else if run.ragged || run.padded.is_some_and(|width| width > run.shortest) {
                let lengths = self.add_column();
                let length = |value: &[u8]| run_length(value, column) as u64;
                self.columns[lengths].extend(values.iter().map(length));
                self.parts.push(Part::Digits { lengths, numbers: column });
            } else {
                let width = run.padded.unwrap_or(1) as u8;
                self.parts.push(Part::Number { style: Style::Decimal { width }, column });
            }
        }
        self.push_literal(tail);
        self.runs = runs;
    }
}

impl Run {
    /// Takes the text before the run and the run itself from the front of a value.
    #[inline]
    fn take<'v>(&mut self, value: &'v [u8], first: &[u8]) -> Option<(u64, &'v [u8])> {
        let rest = value.strip_prefix(&first[self.literal.clone()])?;
        let mut number = 0u64;
        let mut length = 0;
        for byte in rest {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            length += 1;
        }
        if length == 0 || length > MOST_DIGITS {
            return None;
        }
        self.minimum = self.minimum.min(number);
        self.maximum = self.maximum.max(number);
        self.shortest = self.shortest.min(length);
        self.longest = self.longest.max(length);
        if rest[0] == b'0' && length > 1 {
            self.ragged |= self.padded.is_some_and(|padded| padded != length);
            self.padded = Some(length);
        }
        Some((number, &rest[length..]))
    }
}

/// How many digits run `index` of a value has.
fn run_length(value: &[u8], index: usize) -> usize {
    let runs = value.split(|byte| !byte.is_ascii_digit()).filter(|run| !run.is_empty());
    runs.map(<[u8]>::len).nth(index).unwrap_or(0)
}
