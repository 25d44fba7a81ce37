//! A list of values as the pieces they share: reading its head, one value, or all of them.

use super::{
    ByteClasses, Needle,
    numbers::Numbers,
    pack::{BLOCK, Block},
    piece::{Piece, PieceHead, Style, add_lengths, digits_width, put_signed_decimal, slice},
};
use crate::{
    bytes::{Malformed, Reader},
    strings::Strings,
};

/// The most pieces that a list may have.
pub(super) const MOST_PIECES: usize = 30;

/// What a head says of a list of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ValuesHead {
    count: usize,
    pieces: Vec<PieceHead>,
}

impl ValuesHead {
    /// Reads the heads of `pieces` pieces of `count` values.
    pub(super) fn read(reader: &mut Reader<'_>, count: usize, pieces: usize) -> Result<Self, Malformed> {
        if pieces > MOST_PIECES {
            return Err(Malformed("fewer pieces expected"));
        }
        let pieces = (0..pieces).map(|_| PieceHead::read(reader, count)).collect::<Result<_, _>>()?;
        Ok(Self { count, pieces })
    }

    /// How many bytes of data and of pool belong to it.
    pub(super) fn lengths(&self) -> Result<(usize, usize), Malformed> {
        self.pieces.iter().try_fold((0, 0), |sum, piece| add_lengths(sum, piece.lengths()?))
    }

    /// Which kinds of bytes the values can have.
    pub(super) fn classes(&self) -> ByteClasses {
        self.pieces.iter().fold(ByteClasses::NONE, |classes, piece| classes.union(piece.classes()))
    }

    /// May a value hold a folded text? What is no digit stands in literal text, where numbers and that is all there is.
    pub(super) fn may_hold(&self, folded: &str) -> bool {
        if !self.classes().may_hold(folded) {
            return false;
        }
        let unknown = |piece: &PieceHead| match piece {
            PieceHead::Literal(text) => !text.is_ascii(),
            PieceHead::Text { .. } => true,
            PieceHead::Number { style, .. } => {
                matches!(style, Style::Hexadecimal { .. } | Style::DateTime(_))
            }
            PieceHead::Digits { .. } | PieceHead::SignAndDigits { .. } => false,
        };
        if self.pieces.iter().any(unknown) {
            return true;
        }
        let in_literals = |run: &str| {
            self.pieces.iter().any(|piece| match piece {
                PieceHead::Literal(text) => {
                    text.to_ascii_lowercase().windows(run.len()).any(|part| part == run.as_bytes())
                }
                _ => false,
            })
        };
        folded.split(|c: char| c.is_ascii_digit()).all(|run| run.is_empty() || in_literals(run))
    }

    /// Bounds of the values, where all are canonical decimal integers.
    pub(super) fn integers(&self) -> Option<(i128, i128)> {
        let (style, numbers) = match &self.pieces[..] {
            [PieceHead::Number { style, numbers }] => (style, numbers),
            [PieceHead::SignAndDigits { numbers, .. }] => {
                let most = i128::from(numbers.bounds().1);
                return Some((-most, most));
            }
            _ => return None,
        };
        let (low, high) = numbers.bounds();
        match style {
            Style::Decimal { width: ..=1 } => Some((low.into(), high.into())),
            Style::Signed { bias } => {
                let bias = i128::from(*bias);
                Some((bias + i128::from(low), (bias + i128::from(high)).min(i64::MAX.into())))
            }
            _ => None,
        }
    }

    /// Takes the data from the front of `data` and `pool`.
    pub(super) fn open<'a>(
        &'a self,
        data: &mut Reader<'a>,
        pool: &mut Reader<'a>,
    ) -> Result<Values<'a>, Malformed> {
        let pieces = self.pieces.iter().map(|piece| piece.open(data, pool)).collect::<Result<_, _>>()?;
        Ok(Values { count: self.count, pieces })
    }
}

/// A list of values with its data.
#[derive(Clone, Debug)]
pub(super) struct Values<'a> {
    count: usize,
    pieces: Vec<Piece<'a>>,
}

impl<'a> Values<'a> {
    /// A list of one.
    pub(super) fn single(value: &'a [u8]) -> Self {
        Self { count: 1, pieces: vec![Piece::Literal(value)] }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn pieces(&self) -> &[Piece<'a>] {
        &self.pieces
    }

    /// The numbers, where the values are these in canonical decimal.
    pub(super) fn numbers(&self) -> Option<&Numbers<'a>> {
        match &self.pieces[..] {
            [Piece::Number { style: Style::Decimal { width: ..=1 }, numbers }] => Some(numbers),
            _ => None,
        }
    }

    /// Appends value `index`.
    pub(super) fn get(&self, index: usize, into: &mut Vec<u8>) {
        self.pieces.iter().for_each(|piece| piece.get(index, into));
    }

    /// Appends all values.
    pub(super) fn decode(&self, out: &mut Strings) {
        let mut decoder = self.decoder();
        for start in (0..self.count).step_by(BLOCK) {
            decoder.block(start, out);
        }
    }

    /// Calls `visit` with each value and its number; but for some that do not hold the needle.
    pub(super) fn each(&self, needle: Option<&Needle>, visit: &mut dyn FnMut(usize, &[u8])) {
        let mut folded = Vec::new();
        if let (Some(needle), [Piece::Text { bytes, .. }]) = (needle, &self.pieces[..])
            && !needle.may_be_in(bytes, &mut folded)
        {
            return;
        }
        let mut decoder = self.decoder();
        let mut block = Strings::new();
        for start in (0..self.count).step_by(BLOCK) {
            block.clear();
            decoder.block(start, &mut block);
            if needle.is_some_and(|needle| !needle.may_be_in(block.bytes(), &mut folded)) {
                continue;
            }
            block.iter().enumerate().for_each(|(index, value)| visit(start + index, value));
        }
    }

    fn decoder(&self) -> Decoder<'_, 'a> {
        Decoder { values: self, blocks: vec![([0; BLOCK], [0; BLOCK]); self.pieces.len()] }
    }
}

/// Renders values block by block.
struct Decoder<'v, 'a> {
    values: &'v Values<'a>,
    /// Of each piece, the numbers of the block, and the lengths of digits or where each text starts.
    blocks: Vec<(Block, Block)>,
}

impl Decoder<'_, '_> {
    /// Appends the values from `start`, which is a multiple of 64, on.
    fn block(&mut self, start: usize, out: &mut Strings) {
        let pieces = &self.values.pieces;
        let length = (self.values.count - start).min(BLOCK);
        for (piece, (numbers, others)) in pieces.iter().zip(&mut self.blocks) {
            match piece {
                Piece::Literal(_) => {}
                Piece::Number { numbers: list, .. } => list.block(start, numbers),
                Piece::Digits { lengths, numbers: list }
                | Piece::SignAndDigits { signs: lengths, numbers: list } => {
                    list.block(start, numbers);
                    lengths.block(start, others);
                }
                Piece::Text { ends, .. } => {
                    ends.block(start, numbers);
                    others[0] = if start == 0 { 0 } else { ends.get(start - 1) };
                    others[1..length].copy_from_slice(&numbers[..length - 1]);
                }
            }
        }
        if let ([Piece::Number { style, .. }], [(numbers, _)]) = (&pieces[..], &self.blocks[..]) {
            for number in &numbers[..length] {
                style.put(*number, out.buffer());
                out.end();
            }
            return;
        }
        for row in 0..length {
            let buffer = out.buffer();
            for (piece, (numbers, others)) in pieces.iter().zip(&self.blocks) {
                match piece {
                    Piece::Literal(text) => buffer.extend_from_slice(text),
                    Piece::Number { style, .. } => style.put(numbers[row], buffer),
                    Piece::Digits { .. } => {
                        super::digits::put_decimal(numbers[row], digits_width(others[row]), buffer);
                    }
                    Piece::SignAndDigits { .. } => put_signed_decimal(others[row], numbers[row], buffer),
                    Piece::Text { bytes, .. } => {
                        buffer.extend_from_slice(slice(bytes, others[row], numbers[row]));
                    }
                }
            }
            out.end();
        }
    }
}
