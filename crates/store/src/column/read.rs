//! Reading a column: single values, all of them, and the rows that pass a test.

use super::{
    Coded, Needle,
    codes::{Codes, CodesHead},
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
use std::cell::OnceCell;

/// A column with its data.
pub(crate) struct Column<'a> {
    head: &'a Head,
    parts: Parts<'a>,
}

enum Parts<'a> {
    Constant(&'a [u8]),
    Plain(Values<'a>),
    Dictionary { values: Values<'a>, codes: ClosedCodes<'a> },
}

/// Codes that are unpacked when a row is asked for: often the entries say enough.
struct ClosedCodes<'a> {
    head: &'a CodesHead,
    data: &'a [u8],
    pool: &'a [u8],
    open: OnceCell<Codes<'a>>,
}

impl<'a> ClosedCodes<'a> {
    fn open(&self) -> Result<&Codes<'a>, Malformed> {
        if let Some(open) = self.open.get() {
            return Ok(open);
        }
        let open = self.head.open(&mut Reader::new(self.data), &mut Reader::new(self.pool))?;
        Ok(self.open.get_or_init(|| open))
    }

    /// The rows whose entry is among these.
    fn rows_in(&self, entries: &Bits, rows: u32) -> Result<Bits, Malformed> {
        match entries.count() {
            0 => Ok(Bits::none(rows)),
            all if all == entries.size() => Ok(Bits::all(rows)),
            _ => Ok(self.open()?.rows_in(entries)),
        }
    }
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
                let (data, pool, open) = (data.rest(), pool.rest(), OnceCell::new());
                Parts::Dictionary { values, codes: ClosedCodes { head: codes, data, pool, open } }
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
    pub(crate) fn get(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if row >= self.rows() {
            return Ok(());
        }
        match &self.parts {
            Parts::Constant(value) => out.extend_from_slice(value),
            Parts::Plain(values) => values.get(row, out),
            Parts::Dictionary { values, codes } => values.get(codes.open()?.get(row) as usize, out),
        }
        Ok(())
    }

    /// Appends all values.
    pub(crate) fn decode(&self, out: &mut Strings) -> Result<(), Malformed> {
        match &self.parts {
            Parts::Constant(value) => (0..self.rows()).for_each(|_| out.push(value)),
            Parts::Plain(values) => values.decode(out),
            Parts::Dictionary { values, codes } => {
                let mut entries = Strings::new();
                values.decode(&mut entries);
                codes.open()?.each(|_, code| out.push(entries.get(code as usize)));
            }
        }
        Ok(())
    }

    /// All values, as entries of which some may be the same.
    pub(crate) fn coded(&self, out: &mut Coded) -> Result<(), Malformed> {
        out.values.clear();
        out.codes.clear();
        match &self.parts {
            Parts::Constant(value) => {
                out.values.push(value);
                out.codes.resize(self.rows(), 0);
            }
            Parts::Plain(values) => {
                values.decode(&mut out.values);
                out.codes.extend(0..self.size());
            }
            Parts::Dictionary { values, codes } => {
                values.decode(&mut out.values);
                codes.open()?.each(|_, code| out.codes.push(code));
            }
        }
        Ok(())
    }

    /// Appends the values of some rows: to `entries` values that occur there, to `codes` which of them each row has.
    pub(crate) fn pick(
        &self,
        rows: &Bits,
        entries: &mut Strings,
        codes: &mut Vec<u32>,
    ) -> Result<(), Malformed> {
        match &self.parts {
            Parts::Constant(value) => {
                codes.extend((0..rows.count()).map(|_| entries.len() as u32));
                entries.push(value);
            }
            Parts::Plain(values) => values.each(None, &mut |row, value| {
                if rows.contains(row as u32) {
                    codes.push(entries.len() as u32);
                    entries.push(value);
                }
            }),
            Parts::Dictionary { values, codes: closed } => {
                let (mut numbers, before) = (vec![None; values.len()], codes.len());
                closed.open()?.each(|row, code| {
                    if !rows.contains(row as u32) {
                        return;
                    }
                    let Some(number) = numbers.get_mut(code as usize) else { return };
                    codes.push(*number.get_or_insert_with(|| {
                        values.get(code as usize, entries.buffer());
                        entries.end();
                        entries.len() as u32 - 1
                    }));
                });
                if codes.len() - before != rows.count() as usize {
                    return Err(Malformed("a known entry for each row expected"));
                }
            }
        }
        Ok(())
    }

    /// Calls `visit` with values that occur in some rows, and in how many of them; a value may come more than once.
    pub(crate) fn count(&self, rows: &Bits, visit: &mut dyn FnMut(&[u8], u64)) -> Result<(), Malformed> {
        match &self.parts {
            Parts::Constant(value) => visit(value, rows.count().into()),
            Parts::Plain(values) => values.each(None, &mut |row, value| {
                if rows.contains(row as u32) {
                    visit(value, 1);
                }
            }),
            Parts::Dictionary { values, codes } => {
                let mut counts = vec![0u64; values.len()];
                let all = rows.count() == self.size();
                codes.open()?.each(|row, code| {
                    if let Some(count) = counts.get_mut(code as usize) {
                        *count += u64::from(all || rows.contains(row as u32));
                    }
                });
                values.each(None, &mut |entry, value| {
                    if let Some(count) = counts.get(entry).filter(|count| **count > 0) {
                        visit(value, *count);
                    }
                });
            }
        }
        Ok(())
    }

    /// The rows whose value passes. `test` is called once per distinct value where there is a dictionary, else once per
    /// value; for values that do not hold `needle`, which then do not pass, mostly not at all.
    pub(crate) fn matching(
        &self,
        needle: Option<&Needle>,
        test: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Bits, Malformed> {
        self.rows_of(&mut |values| {
            let mut bits = Bits::none(values.len() as u32);
            values.each(needle, &mut |index, value| {
                if test(value) {
                    bits.insert(index as u32);
                }
            });
            bits
        })
    }

    /// The rows whose value holds `token` as a whole word. A word is a longest run of ASCII letters, digits, `_` and
    /// non-ASCII alphanumeric characters, compared with case folded; `token` is folded already. `holds` is the exact
    /// test, asked only for values that are not ASCII; all else is decided here, where possible on packed numbers.
    pub(crate) fn with_token(
        &self,
        token: &str,
        holds: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Bits, Malformed> {
        if !self.head.may_hold(token) {
            return Ok(Bits::none(self.size()));
        }
        self.rows_of(&mut |values| token::values_with(values, token, holds))
    }

    /// The rows whose value is among those that `passing` picks.
    fn rows_of(&self, passing: &mut dyn FnMut(&Values<'a>) -> Bits) -> Result<Bits, Malformed> {
        match &self.parts {
            Parts::Constant(value) => {
                Ok(Bits::uniform(self.size(), passing(&Values::single(value)).contains(0)))
            }
            Parts::Plain(values) => Ok(passing(values)),
            Parts::Dictionary { values, codes } => codes.rows_in(&passing(values), self.size()),
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
