//! Values of one length that differ only in hexadecimal digits: identifiers, UUIDs, addresses. Each stretch of up to 16
//! digits is a column of numbers.

use super::{
    digits::{HEXADECIMAL, NO_DIGIT},
    piece::Style,
    shape::{Part, Shape},
    values::MOST_PIECES,
};
use crate::strings::Strings;
use std::ops::Range;

/// Longer values are not taken for hexadecimal numbers.
const MOST_HEXADECIMAL: usize = 255;

impl Shape {
    /// Values of one length that differ only where all of them have hexadecimal digits, in one case.
    pub(super) fn hexadecimal(&mut self, values: &Strings, first: &[u8]) -> bool {
        if first.len() > MOST_HEXADECIMAL || first.is_empty() || values.len() < 2 {
            return false;
        }
        let mut differs = [0u8; MOST_HEXADECIMAL];
        let differs = &mut differs[..first.len()];
        let (mut lower, mut upper) = (false, false);
        for value in values.iter() {
            if value.len() != first.len() {
                return false;
            }
            for (differs, (byte, other)) in differs.iter_mut().zip(value.iter().zip(first)) {
                *differs |= byte ^ other;
            }
        }
        let runs = hexadecimal_runs(first, differs);
        if runs.is_empty() || runs.len() * 2 >= MOST_PIECES {
            return false;
        }
        for _ in &runs {
            self.add_column();
        }
        for value in values.iter() {
            for (run, column) in runs.iter().zip(&mut self.columns) {
                let (mut number, mut bad) = (0u64, 0u8);
                for byte in &value[run.clone()] {
                    let digit = HEXADECIMAL[*byte as usize];
                    number = number << 4 | u64::from(digit & 15);
                    bad |= u8::from(digit == NO_DIGIT);
                    lower |= *byte >= b'a';
                    upper |= (b'A'..=b'F').contains(byte);
                }
                if bad != 0 || (lower && upper) {
                    self.used = 0;
                    return false;
                }
                column.push(number);
            }
        }
        let mut start = 0;
        for (column, run) in runs.into_iter().enumerate() {
            self.push_literal(&first[start..run.start]);
            start = run.end;
            self.parts
                .push(Part::Number { style: Style::Hexadecimal { digits: run.len() as u8, upper }, column });
        }
        self.push_literal(&first[start..]);
        true
    }
}

/// Where values differ, as ranges of at most 16 bytes that are hexadecimal digits in the first value. Empty if they
/// differ elsewhere.
fn hexadecimal_runs(first: &[u8], differs: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < first.len() {
        if HEXADECIMAL[first[at] as usize] == NO_DIGIT {
            if differs[at] != 0 {
                return Vec::new();
            }
            at += 1;
            continue;
        }
        let start = at;
        while at < first.len() && HEXADECIMAL[first[at] as usize] != NO_DIGIT {
            at += 1;
        }
        let differing = |position: &usize| differs[*position] != 0;
        let (Some(begin), Some(last)) = ((start..at).find(differing), (start..at).rfind(differing)) else {
            continue;
        };
        let mut from = begin;
        while from <= last {
            let to = (from + 16).min(last + 1);
            runs.push(from..to);
            from = to;
        }
    }
    runs
}
