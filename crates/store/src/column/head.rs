//! The head of a column: how it is encoded, and what can be said of its values without their data.

use super::{ByteClasses, codes::CodesHead, piece::add_lengths, values::ValuesHead};
use crate::bytes::{Malformed, Reader};

pub(super) const CONSTANT: u8 = 0;
pub(super) const PLAIN: u8 = 1;
pub(super) const DICTIONARY: u8 = 2;

/// A parsed head. Owns nothing big.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    rows: usize,
    data_length: usize,
    pool_length: usize,
    pub(super) layout: Layout,
}

#[derive(Clone, Debug)]
pub(super) enum Layout {
    Constant(Box<[u8]>),
    Plain(ValuesHead),
    Dictionary { values: ValuesHead, codes: CodesHead },
}

impl Head {
    /// Reads the next head. `rows` as written.
    pub(crate) fn read(reader: &mut Reader<'_>, rows: usize) -> Result<Self, Malformed> {
        if rows > u32::MAX as usize {
            return Err(Malformed("fewer rows expected"));
        }
        let tag = reader.byte()?;
        let pieces = usize::from(tag >> 3);
        let layout = match tag & 7 {
            CONSTANT => Layout::Constant(reader.bytes()?.into()),
            PLAIN => Layout::Plain(ValuesHead::read(reader, rows, pieces)?),
            DICTIONARY => {
                let distinct = reader.at_most(rows)?;
                let values = ValuesHead::read(reader, distinct, pieces)?;
                Layout::Dictionary { values, codes: CodesHead::read(reader, rows, distinct)? }
            }
            _ => return Err(Malformed("a known layout of a column expected")),
        };
        let (data_length, pool_length) = match &layout {
            Layout::Constant(_) => (0, 0),
            Layout::Plain(values) => values.lengths()?,
            Layout::Dictionary { values, codes } => add_lengths(values.lengths()?, codes.lengths()?)?,
        };
        Ok(Self { rows, data_length, pool_length, layout })
    }

    /// How many rows the column has.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How many bytes of `data` belong to this column: parts lie in the order of the heads.
    pub(crate) fn data_length(&self) -> usize {
        self.data_length
    }

    /// How many bytes of `pool` belong to this column.
    pub(crate) fn pool_length(&self) -> usize {
        self.pool_length
    }

    /// The value that all rows have. `None` also where that is too long for a head.
    pub(crate) fn constant(&self) -> Option<&[u8]> {
        match &self.layout {
            Layout::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// May a value hold this, when its case is folded? `folded` is part of a word.
    pub(crate) fn may_hold(&self, folded: &str) -> bool {
        match &self.layout {
            Layout::Constant(value) => ByteClasses::of(value).may_hold(folded),
            Layout::Plain(values) | Layout::Dictionary { values, .. } => values.may_hold(folded),
        }
    }

    /// Bounds, where all values are canonical decimal integers. They need not occur.
    pub(crate) fn integers(&self) -> Option<(i128, i128)> {
        match &self.layout {
            Layout::Constant(value) => super::digits::parse_integer(value).map(|integer| (integer, integer)),
            Layout::Plain(values) | Layout::Dictionary { values, .. } => values.integers(),
        }
    }
}
