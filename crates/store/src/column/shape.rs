//! Finding the pieces that all values of a list share, and the numbers in them. Tries integers, dates and times, runs of
//! decimal digits (`composite`), hexadecimal digits (`hexadecimal`), and at last text with what is common around it.

use super::{composite::Run, date_time::Format, digits::parse_decimal, piece::Style};
use crate::strings::Strings;

/// A piece of all values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(Vec<u8>),
    /// Numbers that lie in a column of the shape.
    Number {
        style: Style,
        column: usize,
    },
    /// Decimal digits: their lengths and the numbers.
    Digits {
        lengths: usize,
        numbers: usize,
    },
    /// Signs, and decimal digits.
    SignAndDigits {
        signs: usize,
        numbers: usize,
    },
    /// What is left of each value without so many bytes before and after it.
    Text {
        before: usize,
        after: usize,
    },
}

/// What was found. Keeps its memory between lists.
#[derive(Default)]
pub(super) struct Shape {
    pub(super) parts: Vec<Part>,
    /// Numbers, a column for each run of them; only the first `used` are of this list.
    pub(super) columns: Vec<Vec<u64>>,
    pub(super) used: usize,
    pub(super) runs: Vec<Run>,
}

impl Shape {
    /// The numbers of a column, one for each value.
    pub(super) fn column(&self, index: usize) -> &[u64] {
        &self.columns[index]
    }

    /// How many columns there are.
    pub(super) fn columns(&self) -> usize {
        self.used
    }

    /// Finds the pieces of distinct values, of which there is at least one.
    pub(super) fn find(&mut self, values: &Strings) {
        self.parts.clear();
        self.used = 0;
        let first = values.get(0);
        if self.integers(values, 0, 0) || self.date_times(values, first) || self.composite(values, first) {
            return;
        }
        if self.hexadecimal(values, first) {
            return;
        }
        self.affixed(values, first);
    }

    /// Makes room for another column.
    pub(super) fn add_column(&mut self) -> usize {
        if self.used == self.columns.len() {
            self.columns.push(Vec::new());
        }
        self.columns[self.used].clear();
        self.used += 1;
        self.used - 1
    }

    /// Canonical integers with so many bytes before and after them.
    fn integers(&mut self, values: &Strings, before: usize, after: usize) -> bool {
        let index = self.add_column();
        let column = &mut self.columns[index];
        let (mut negative, mut large) = (false, false);
        for value in values.iter() {
            let bytes = &value[before..value.len() - after];
            let digits = if let [b'-', digits @ ..] = bytes { digits } else { bytes };
            let signed = digits.len() < bytes.len();
            let leading = digits.first() == Some(&b'0') && (signed || digits.len() > 1);
            let Some(number) = parse_decimal(digits).filter(|_| !leading) else {
                self.used = index;
                return false;
            };
            negative |= signed;
            large |= number > i64::MAX as u64;
            column.push(if signed { number.wrapping_neg() } else { number });
        }
        if negative && large {
            let signs = self.add_column();
            for (row, value) in values.iter().enumerate() {
                let sign = value[before] == b'-';
                self.columns[signs].push(u64::from(sign));
                if sign {
                    let number = &mut self.columns[index][row];
                    *number = number.wrapping_neg();
                }
            }
            self.parts.push(Part::SignAndDigits { signs, numbers: index });
            return true;
        }
        let style = if negative {
            let bias = column.iter().map(|number| *number as i64).min().unwrap_or(0);
            for number in column {
                *number = number.wrapping_sub(bias as u64);
            }
            Style::Signed { bias }
        } else {
            Style::Decimal { width: 1 }
        };
        self.parts.push(Part::Number { style, column: index });
        true
    }

    /// Dates and times in one spelling, with the same text after all of them.
    fn date_times(&mut self, values: &Strings, first: &[u8]) -> bool {
        Format::candidates(first).into_iter().flatten().any(|format| {
            let index = self.add_column();
            let column = &mut self.columns[index];
            let (length, tail) = (format.length(), &first[format.length()..]);
            for value in values.iter() {
                let split = value.split_at_checked(length).filter(|(_, rest)| *rest == tail);
                let Some(number) = split.and_then(|(text, _)| format.parse(text)) else {
                    self.used = index;
                    return false;
                };
                column.push(number);
            }
            self.parts.push(Part::Number { style: Style::DateTime(format), column: index });
            self.push_literal(tail);
            true
        })
    }

    /// Appends text; what is literal already grows.
    pub(super) fn push_literal(&mut self, text: &[u8]) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Literal(before)) => before.extend_from_slice(text),
            _ => self.parts.push(Part::Literal(text.to_vec())),
        }
    }

    /// Text that all values begin and end with, and integers or any text between.
    fn affixed(&mut self, values: &Strings, first: &[u8]) {
        let (mut before, mut after) = (first.len(), first.len());
        for value in values.iter() {
            let same = value.iter().zip(first).take_while(|(a, b)| a == b).count();
            before = before.min(same);
            let same = value.iter().rev().zip(first.iter().rev()).take_while(|(a, b)| a == b).count();
            after = after.min(same);
            if before == 0 && after == 0 {
                break;
            }
        }
        let shortest = values.iter().map(<[u8]>::len).min().unwrap_or(0);
        before = before.min(shortest);
        after = after.min(shortest - before);
        let is_digit = |at: usize| first.get(at).is_some_and(u8::is_ascii_digit);
        let mut whole_before = before;
        while whole_before > 0 && (is_digit(whole_before - 1) || first[whole_before - 1] == b'-') {
            whole_before -= 1;
        }
        let mut whole_after = after;
        while whole_after > 0 && is_digit(first.len() - whole_after) {
            whole_after -= 1;
        }
        self.push_literal(&first[..whole_before]);
        if whole_before + whole_after > 0 && self.integers(values, whole_before, whole_after) {
            self.push_literal(&first[first.len() - whole_after..]);
            return;
        }
        self.parts.clear();
        if (before + after) * values.len() < 8 {
            (before, after) = (0, 0);
        }
        self.push_literal(&first[..before]);
        self.parts.push(Part::Text { before, after });
        self.push_literal(&first[first.len() - after..]);
    }
}
