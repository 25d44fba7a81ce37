//! Which entry of a dictionary each row has: bit packed; as compressed bytes or tokens where their skew pays; with marks
//! for rows that have the next new entry, and references back, or codes, for the others.

use super::{
    blob::BlobHead,
    pack::{BLOCK, Block, Packed, each_block, packed_length},
    tokens,
};
use crate::{
    bits::Bits,
    bytes::{Malformed, Reader},
};
use std::borrow::Cow;

/// In place of a width: one byte each.
pub(super) const BYTES: u8 = 100;
/// In place of a width: a token each, and bits that go with some of them.
pub(super) const TOKENS: u8 = 101;
/// In place of a width: marks for new entries, and how many entries before the latest the others are.
pub(super) const REFERENCES: u8 = 102;
/// In place of a width: marks for entries that occur once, which are the last, and codes of the others.
pub(super) const SINGLES: u8 = 103;

/// What a head says of codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CodesHead {
    rows: usize,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Packed {
        width: u32,
    },
    Bytes(BlobHead),
    /// `recurring` is how many entries occur more than once, where symbol 0 stands for the next that does not.
    Tokens {
        tokens: BlobHead,
        bits: usize,
        recurring: Option<u32>,
    },
    /// `recurring` is how many entries occur more than once, where only those that do not are marked.
    Marked {
        marks: usize,
        width: u32,
        recurring: Option<u32>,
    },
}

impl CodesHead {
    /// Reads the head of the codes of `rows` rows into a dictionary of `distinct` entries.
    pub(super) fn read(reader: &mut Reader<'_>, rows: usize, distinct: usize) -> Result<Self, Malformed> {
        let kind = match reader.byte()? {
            width @ 0..=32 => Kind::Packed { width: width.into() },
            BYTES => Kind::Bytes(BlobHead::read(reader)?),
            TOKENS => {
                let singles = reader.at_most(distinct)?;
                let recurring = (singles > 0).then_some((distinct - singles) as u32);
                let tokens = BlobHead::read(reader)?;
                Kind::Tokens { tokens, bits: reader.at_most(rows.saturating_mul(4))?, recurring }
            }
            REFERENCES if distinct <= rows => {
                Kind::Marked { marks: distinct, width: reader.width()?, recurring: None }
            }
            SINGLES => {
                let marks = reader.at_most(distinct)?;
                Kind::Marked { marks, width: reader.width()?, recurring: Some((distinct - marks) as u32) }
            }
            _ => return Err(Malformed("a known kind of codes expected")),
        };
        match &kind {
            Kind::Bytes(blob) | Kind::Tokens { tokens: blob, .. } if blob.len() != rows => {
                Err(Malformed("a byte for each row expected"))
            }
            _ => Ok(Self { rows, kind }),
        }
    }

    /// How many bytes of data and of pool belong to them.
    pub(super) fn lengths(&self) -> Result<(usize, usize), Malformed> {
        Ok(match &self.kind {
            Kind::Packed { width } => (packed_length(self.rows, *width)?, 0),
            Kind::Bytes(low) => (low.data_length(), low.pool_length()),
            Kind::Tokens { tokens, bits, .. } => {
                let length = tokens.data_length().checked_add(*bits);
                (length.ok_or(Malformed("shorter data expected"))?, tokens.pool_length())
            }
            Kind::Marked { marks, width, .. } => {
                (packed_length(self.rows, 1)? + packed_length(self.rows.saturating_sub(*marks), *width)?, 0)
            }
        })
    }

    /// Takes the data from the front of `data` and `pool`.
    pub(super) fn open<'a>(
        &self,
        data: &mut Reader<'a>,
        pool: &mut Reader<'a>,
    ) -> Result<Codes<'a>, Malformed> {
        let kind = match &self.kind {
            Kind::Packed { width } => {
                Source::Packed(Packed::new(data.take(packed_length(self.rows, *width)?)?, *width))
            }
            Kind::Bytes(bytes) => Source::Bytes(bytes.open(data, pool)?),
            Kind::Tokens { tokens, bits, recurring } => {
                let tokens = tokens.open(data, pool)?;
                Source::Tokens(tokens::decode(&tokens, data.take(*bits)?, *recurring))
            }
            Kind::Marked { marks, width, recurring } => {
                let marked = data.take(packed_length(self.rows, 1)?)?;
                let others = data.take(packed_length(self.rows.saturating_sub(*marks), *width)?)?;
                Source::Marked(Marked::new(
                    marked,
                    Packed::new(others, *width),
                    self.rows,
                    *marks,
                    *recurring,
                )?)
            }
        };
        Ok(Codes { rows: self.rows, source: kind })
    }
}

/// The codes of rows.
#[derive(Clone, Debug)]
pub(super) struct Codes<'a> {
    rows: usize,
    source: Source<'a>,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Packed(Packed<'a>),
    Bytes(Cow<'a, [u8]>),
    Tokens(Vec<u32>),
    Marked(Marked<'a>),
}

impl Codes<'_> {
    /// The code of a row.
    #[inline]
    pub(super) fn get(&self, row: usize) -> u32 {
        match &self.source {
            Source::Packed(packed) => packed.get(row) as u32,
            Source::Bytes(bytes) => bytes.get(row).copied().map_or(0, u32::from),
            Source::Tokens(codes) => codes.get(row).copied().unwrap_or(0),
            Source::Marked(marked) => marked.get(row),
        }
    }

    /// The codes of the rows from `start`, which is a multiple of 64, on.
    #[inline]
    fn block(&self, start: usize, into: &mut Block) {
        match &self.source {
            Source::Packed(packed) => {
                let length = (self.rows - start).min(BLOCK);
                packed.unpack(start, &mut into[..length]);
            }
            Source::Bytes(bytes) => {
                let bytes = bytes.get(start..).unwrap_or(&[]);
                into.iter_mut().zip(bytes).for_each(|(code, byte)| *code = u64::from(*byte));
            }
            Source::Tokens(codes) => {
                let codes = codes.get(start..).unwrap_or(&[]);
                into.iter_mut().zip(codes).for_each(|(code, known)| *code = u64::from(*known));
            }
            Source::Marked(marked) => marked.block(start, into),
        }
    }

    /// Calls `visit` with each row and its code.
    #[inline]
    pub(super) fn each(&self, mut visit: impl FnMut(usize, u32)) {
        let mut block = [0; BLOCK];
        each_block(self.rows, |start, length| {
            self.block(start, &mut block);
            for (index, code) in block[..length].iter().enumerate() {
                visit(start + index, *code as u32);
            }
        });
    }

    /// The rows whose code passes.
    #[inline]
    pub(super) fn rows_where(&self, mut test: impl FnMut(u32) -> bool) -> Bits {
        let mut words = Vec::with_capacity(self.rows.div_ceil(64));
        let mut block = [0; BLOCK];
        each_block(self.rows, |start, length| {
            self.block(start, &mut block);
            let bits = block[..length].iter().enumerate();
            words.push(bits.fold(0, |word, (index, code)| word | u64::from(test(*code as u32)) << index));
        });
        Bits::from_words(words, self.rows as u32)
    }

    /// The rows whose code is in `wanted`.
    pub(super) fn rows_in(&self, wanted: &Bits) -> Bits {
        match wanted.count() {
            0 => Bits::none(self.rows as u32),
            1 => {
                let only = wanted.next(0).unwrap_or(0);
                self.rows_where(|code| code == only)
            }
            all if all == wanted.size() => Bits::all(self.rows as u32),
            _ => self.rows_where(|code| wanted.contains(code)),
        }
    }
}

/// Codes of which some are only marked, because they are the next of those that are.
#[derive(Clone, Debug)]
struct Marked<'a> {
    /// Whether a row is marked: a bit each, read in words.
    marks: Packed<'a>,
    /// For each other row its code, or how many entries before the latest marked one its own is.
    others: Packed<'a>,
    /// How many rows before each block are marked.
    before: Vec<u32>,
    /// Where the marked entries begin, if they are not numbered with the others.
    recurring: Option<u32>,
}

impl<'a> Marked<'a> {
    fn new(
        marks: &'a [u8],
        others: Packed<'a>,
        rows: usize,
        marked: usize,
        recurring: Option<u32>,
    ) -> Result<Self, Malformed> {
        let mut seen = 0;
        let before = marks
            .chunks(BLOCK / 8)
            .map(|block| {
                let before = seen;
                seen += block.iter().map(|byte| byte.count_ones()).sum::<u32>();
                before
            })
            .collect();
        let spare = marks.len() * 8 - rows;
        let clean = marks.last().is_none_or(|last| last.leading_zeros() as usize >= spare);
        if seen as usize != marked || !clean {
            return Err(Malformed("as many marks as there are such entries expected"));
        }
        Ok(Self { marks: Packed::new(marks, 64), others, before, recurring })
    }

    /// The code of a row, up to which `seen` rows are marked.
    #[inline]
    fn code(&self, marked: bool, seen: u32, other: u64) -> u64 {
        let latest = u64::from(seen).saturating_sub(1);
        match self.recurring {
            Some(recurring) if marked => u64::from(recurring) + latest,
            Some(_) => other,
            None if marked => latest,
            None => latest.saturating_sub(other),
        }
    }

    fn get(&self, row: usize) -> u32 {
        let (block, inside) = (row / BLOCK, row % BLOCK);
        let word = self.marks.get(block);
        let seen =
            self.before.get(block).copied().unwrap_or(0) + (word & (u64::MAX >> (63 - inside))).count_ones();
        let marked = word >> inside & 1 == 1;
        let other = if marked { 0 } else { self.others.get(row.saturating_sub(seen as usize)) };
        self.code(marked, seen, other) as u32
    }

    fn block(&self, start: usize, into: &mut Block) {
        let block = start / BLOCK;
        let word = self.marks.get(block);
        let mut seen = self.before.get(block).copied().unwrap_or(0);
        let mut others = [0; BLOCK];
        self.others.unpack(start.saturating_sub(seen as usize), &mut others);
        let mut next = 0;
        for (index, code) in into.iter_mut().enumerate() {
            let mark = word >> index & 1;
            seen += mark as u32;
            *code = self.code(mark == 1, seen, others[next]);
            next += 1 - mark as usize;
            next = next.min(BLOCK - 1);
        }
    }
}
