//! Reading a column: single values, all of them, and the rows that pass a test.

use super::{
    codes::Codes,
    head::{Head, Layout},
    numbers::Numbers,
    token,
    values::Values,
};
use crate::{
    bits::Bits,
    bytes::{Malformed, Reader},
    strings::Strings,
};

/// A column with its data.
pub(crate) struct Column<'a> {
    head: &'a Head,
    parts: Parts<'a>,
}

enum Parts<'a> {
    Constant(&'a [u8]),
    Plain(Values<'a>),
    Dictionary { values: Values<'a>, codes: Codes<'a> },
}

impl<'a> Column<'a> {
    /// `data` and `pool` are exactly the column's parts.
    pub(crate) fn open(head: &'a Head, data: &'a [u8], pool: &'a [u8]) -> Result<Self, Malformed> {
        let (data, pool) = (&mut Reader::new(data), &mut Reader::new(pool));
        let parts = match &head.layout {
            Layout::Constant(value) => Parts::Constant(value),
            Layout::Plain(values) => Parts::Plain(values.open(data, pool)?),
            Layout::Dictionary { values, codes } => {
                let values = values.open(data, pool)?;
                Parts::Dictionary { values, codes: codes.open(data, pool)? }
            }
        };
        Ok(Self { head, parts })
    }

    /// How many rows it has.
    pub(crate) fn rows(&self) -> usize {
        self.head.rows()
    }

    /// The same, as sets of rows count.
    fn size(&self) -> u32 {
        self.head.rows() as u32
    }

    /// Appends the value of a row. Random access: nothing but this value is rendered.
    pub(crate) fn get(&self, row: usize, out: &mut Vec<u8>) {
        if row >= self.rows() {
            return;
        }
        match &self.parts {
            Parts::Constant(value) => out.extend_from_slice(value),
            Parts::Plain(values) => values.get(row, out),
            Parts::Dictionary { values, codes } => values.get(codes.get(row) as usize, out),
        }
    }

    /// Appends all values.
    pub(crate) fn decode(&self, out: &mut Strings) {
        match &self.parts {
            Parts::Constant(value) => (0..self.rows()).for_each(|_| out.push(value)),
            Parts::Plain(values) => values.decode(out),
            Parts::Dictionary { values, codes } => {
                let mut entries = Strings::new();
                values.decode(&mut entries);
                codes.each(|_, code| out.push(entries.get(code as usize)));
            }
        }
    }

    /// The rows whose value passes. `test` is called once per distinct value where there is a dictionary, else once per
    /// value.
    pub(crate) fn matching(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> Bits {
        match &self.parts {
            Parts::Constant(value) => Bits::uniform(self.size(), test(value)),
            Parts::Plain(values) => passing(values, test),
            Parts::Dictionary { values, codes } => codes.rows_in(&passing(values, test)),
        }
    }

    /// The rows whose value holds `token` as a whole word. A word is a longest run of ASCII letters, digits, `_` and
    /// non-ASCII alphanumeric characters, compared with case folded; `token` is folded already. `holds` is the exact
    /// test, asked only for values that are not ASCII; all else is decided here, where possible on packed numbers.
    pub(crate) fn with_token(&self, token: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> Bits {
        if !self.head.classes().may_hold(token) {
            return Bits::none(self.size());
        }
        match &self.parts {
            Parts::Constant(value) => Bits::uniform(self.size(), token::holds(value, token, holds)),
            Parts::Plain(values) => token::values_with(values, token, holds),
            Parts::Dictionary { values, codes } => codes.rows_in(&token::values_with(values, token, holds)),
        }
    }

    /// The numbers of a column that was written as such, or whose values are all canonical decimals of 64 bits.
    pub(crate) fn numbers(&self) -> Option<&Numbers<'a>> {
        match &self.parts {
            Parts::Plain(values) => values.numbers(),
            _ => None,
        }
    }
}

/// The values of a list that pass.
fn passing(values: &Values<'_>, test: &mut dyn FnMut(&[u8]) -> bool) -> Bits {
    let mut bits = Bits::none(values.len() as u32);
    values.each(&mut |index, value| {
        if test(value) {
            bits.insert(index as u32);
        }
    });
    bits
}
