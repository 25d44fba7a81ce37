//! One list of 64-bit numbers with random access: frame of reference, deltas with a start every 64 numbers, places in a
//! list of those that occur, or evenly spaced and thus no bits at all. What is packed are *quotients*: a number less the
//! minimum, divided by what divides all of these. Owns reading; `number_plan` chooses and writes.
//!
//! In a head: a byte for the width, one for the mode if there is more to say, then what the mode needs. In the data: the
//! packed bits. All arithmetic wraps, so deltas are exact whatever the numbers are.

use super::{
    blob::BlobHead,
    pack::{BLOCK, Block, Packed, each_block, packed_length},
};
use crate::{
    bits::Bits,
    bytes::{Malformed, Reader},
};

/// Beside a width: a byte with the flags below follows.
pub(super) const MORE: u8 = 128;
/// There are deltas.
pub(super) const DELTAS: u8 = 1;
/// Quotients are of a number other than 1.
pub(super) const SCALED: u8 = 2;
/// There is a list.
pub(super) const LISTED: u8 = 4;
/// In place of a width: evenly spaced.
pub(super) const LINEAR: u8 = 100;
/// In place of the width of places in a list: they are bytes.
pub(super) const BYTES: u8 = 255;

/// How a list of numbers is packed: all but the bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NumbersHead {
    pub(super) count: usize,
    pub(super) minimum: u64,
    /// What quotients are multiplied with.
    pub(super) scale: u64,
    pub(super) width: u32,
    pub(super) mode: Mode,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Each quotient, in `width` bits.
    FrameOfReference,
    /// The first quotient of each block like that, then what each other is more than its neighbour and `minimum`, in
    /// `width` bits.
    Deltas { minimum: u64, width: u32 },
    /// All quotients that occur, ascending, in `width` bits, then for each number which it is.
    Listed { entries: usize, places: Places },
    /// The minimum is the first number, each further one is `step` more.
    Linear { step: u64 },
}

/// How places in a list are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Places {
    Packed {
        width: u32,
    },
    /// A byte each, to be compressed to about so many bits.
    Planned {
        bits: u64,
    },
    Bytes(BlobHead),
}

impl NumbersHead {
    /// How many numbers there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The highest quotient that the width allows.
    pub(super) fn limit(&self) -> u64 {
        if self.width == 0 { 0 } else { u64::MAX >> (64 - self.width) }
    }

    /// How many numbers start a block.
    pub(super) fn starts(&self) -> usize {
        self.count.div_ceil(BLOCK)
    }

    /// Reads the head of `count` numbers.
    pub(super) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Self, Malformed> {
        let first = reader.byte()?;
        if first == LINEAR {
            let (minimum, step) = (reader.number()?, reader.signed()? as u64);
            return Ok(Self { count, minimum, scale: 1, width: 0, mode: Mode::Linear { step } });
        }
        let width = u32::from(first & !MORE);
        let flags = if first & MORE == 0 { 0 } else { reader.byte()? };
        if width > 64 {
            return Err(Malformed("a width of at most 64 bits expected"));
        }
        let minimum = reader.number()?;
        let scale = if flags & SCALED == 0 { 1 } else { reader.number()? };
        let mode = match flags & !SCALED {
            0 => Mode::FrameOfReference,
            DELTAS => {
                let width = reader.width()?;
                Mode::Deltas { minimum: reader.signed()? as u64, width }
            }
            LISTED => Mode::Listed { entries: reader.at_most(count)?, places: Places::read(reader, count)? },
            _ => return Err(Malformed("deltas or a list expected")),
        };
        if scale == 0 {
            return Err(Malformed("a number to multiply with expected"));
        }
        Ok(Self { count, minimum, scale, width, mode })
    }

    /// How many bytes of data and of pool belong to them.
    pub(super) fn lengths(&self) -> Result<(usize, usize), Malformed> {
        let first = self.first_length()?;
        let (data, pool) = match &self.mode {
            Mode::FrameOfReference | Mode::Linear { .. } => (0, 0),
            Mode::Deltas { width, .. } => (packed_length(self.count - self.starts(), *width)?, 0),
            Mode::Listed { places, .. } => places.lengths(self.count)?,
        };
        Ok((first.checked_add(data).ok_or(Malformed("fewer packed numbers expected"))?, pool))
    }

    /// How long the packed quotients are.
    fn first_length(&self) -> Result<usize, Malformed> {
        let count = match self.mode {
            Mode::FrameOfReference => self.count,
            Mode::Deltas { .. } => self.starts(),
            Mode::Listed { entries, .. } => entries,
            Mode::Linear { .. } => 0,
        };
        packed_length(count, self.width)
    }

    /// Takes the data from the front of `data` and `pool`.
    pub(super) fn open<'a>(
        &self,
        data: &mut Reader<'a>,
        pool: &mut Reader<'a>,
    ) -> Result<Numbers<'a>, Malformed> {
        let quotients = Packed::new(data.take(self.first_length()?)?, self.width);
        let (source, others) = match &self.mode {
            Mode::FrameOfReference => (Source::FrameOfReference, Packed::new(&[], 0)),
            Mode::Deltas { minimum, width } => {
                let deltas = data.take(packed_length(self.count - self.starts(), *width)?)?;
                (Source::Deltas { minimum: *minimum }, Packed::new(deltas, *width))
            }
            Mode::Listed { places, .. } => (Source::Listed, places.open(self.count, data, pool)?),
            Mode::Linear { step } => (Source::Linear { step: *step }, Packed::new(&[], 0)),
        };
        Ok(Numbers { count: self.count, minimum: self.minimum, scale: self.scale, source, quotients, others })
    }

    /// Bounds of the numbers; not always tight.
    pub(super) fn bounds(&self) -> (u64, u64) {
        if let Mode::Linear { step } = self.mode {
            let last = i128::from(self.minimum) + i128::from(step as i64) * (self.count.max(1) - 1) as i128;
            return match u64::try_from(last) {
                Ok(last) => (self.minimum.min(last), self.minimum.max(last)),
                Err(_) => (0, u64::MAX),
            };
        }
        let most = self.limit().saturating_mul(self.scale);
        (self.minimum, self.minimum.saturating_add(most))
    }
}

impl Places {
    fn read(reader: &mut Reader<'_>, count: usize) -> Result<Self, Malformed> {
        match reader.byte()? {
            width @ 0..=32 => Ok(Self::Packed { width: width.into() }),
            BYTES => {
                let blob = BlobHead::read(reader)?;
                if blob.len() == count {
                    Ok(Self::Bytes(blob))
                } else {
                    Err(Malformed("a byte for each number expected"))
                }
            }
            _ => Err(Malformed("a known kind of places in a list expected")),
        }
    }

    fn lengths(&self, count: usize) -> Result<(usize, usize), Malformed> {
        match self {
            Self::Packed { width } => Ok((packed_length(count, *width)?, 0)),
            Self::Planned { .. } => Ok((0, 0)),
            Self::Bytes(blob) => Ok((blob.data_length(), blob.pool_length())),
        }
    }

    fn open<'a>(
        &self,
        count: usize,
        data: &mut Reader<'a>,
        pool: &mut Reader<'a>,
    ) -> Result<Packed<'a>, Malformed> {
        match self {
            Self::Packed { width } => Ok(Packed::new(data.take(packed_length(count, *width)?)?, *width)),
            Self::Planned { .. } => Err(Malformed("places in a list expected")),
            Self::Bytes(blob) => Ok(Packed::of_bytes(blob.open(data, pool)?)),
        }
    }
}

/// A list of numbers, read from its packed bits.
#[derive(Clone, Debug)]
pub(crate) struct Numbers<'a> {
    count: usize,
    minimum: u64,
    scale: u64,
    source: Source,
    quotients: Packed<'a>,
    /// Deltas, or places among the quotients.
    others: Packed<'a>,
}

/// Where the quotients of numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    FrameOfReference,
    Deltas { minimum: u64 },
    Listed,
    Linear { step: u64 },
}

impl Numbers<'_> {
    /// Number `index`. Costs a load or two, or adding up at most 63 deltas.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> u64 {
        let quotient = match self.source {
            Source::FrameOfReference => self.quotients.get(index),
            Source::Deltas { minimum } => {
                let (block, inside) = (index / BLOCK, index % BLOCK);
                let mut deltas = [0; BLOCK];
                self.others.unpack(block * (BLOCK - 1), &mut deltas[..inside]);
                let sum = deltas[..inside].iter().fold(0u64, |sum, delta| sum.wrapping_add(*delta));
                let steps = minimum.wrapping_mul(inside as u64);
                self.quotients.get(block).wrapping_add(sum).wrapping_add(steps)
            }
            Source::Listed => self.quotients.get(self.others.get(index) as usize),
            Source::Linear { step } => step.wrapping_mul(index as u64),
        };
        self.minimum.wrapping_add(quotient.wrapping_mul(self.scale))
    }

    /// Appends all of them.
    pub(crate) fn decode(&self, into: &mut Vec<u64>) {
        into.reserve(self.count);
        let mut block = [0; BLOCK];
        each_block(self.count, |start, length| {
            self.block(start, &mut block);
            into.extend_from_slice(&block[..length]);
        });
    }

    /// Which numbers lie inside the closed bounds.
    pub(super) fn between(&self, low: u64, high: u64) -> Bits {
        if low > high {
            return Bits::none(self.count as u32);
        }
        // One comparison of unsigned numbers tests both bounds.
        let span = high - low;
        let plain = self.source == Source::FrameOfReference && self.scale == 1;
        let base = if plain { low.wrapping_sub(self.minimum) } else { low };
        let mut words = Vec::with_capacity(self.count.div_ceil(BLOCK));
        let mut block = [0; BLOCK];
        each_block(self.count, |start, _| {
            if plain {
                self.quotients.unpack(start, &mut block);
            } else {
                self.block(start, &mut block);
            }
            let tests = block.iter().enumerate();
            words.push(tests.fold(0, |word, (index, number)| {
                word | u64::from(number.wrapping_sub(base) <= span) << index
            }));
        });
        Bits::from_words(words, self.count as u32)
    }

    /// The numbers from `start`, which is a multiple of 64, on. Beyond the last, anything.
    #[inline]
    pub(super) fn block(&self, start: usize, into: &mut Block) {
        let length = self.count.saturating_sub(start).min(BLOCK);
        match self.source {
            Source::FrameOfReference => self.quotients.unpack(start, &mut into[..length]),
            Source::Deltas { minimum } => {
                let block = start / BLOCK;
                if length > 1 {
                    self.others.unpack(block * (BLOCK - 1), &mut into[1..length]);
                }
                let mut quotient = self.quotients.get(block);
                into[0] = quotient;
                for delta in &mut into[1..] {
                    quotient = quotient.wrapping_add(*delta).wrapping_add(minimum);
                    *delta = quotient;
                }
            }
            Source::Listed => {
                self.others.unpack(start, &mut into[..length]);
                for place in &mut into[..length] {
                    *place = self.quotients.get(*place as usize);
                }
            }
            Source::Linear { step } => {
                let mut quotient = step.wrapping_mul(start as u64);
                for place in into.iter_mut() {
                    *place = quotient;
                    quotient = quotient.wrapping_add(step);
                }
            }
        }
        if self.scale == 1 {
            for number in into {
                *number = number.wrapping_add(self.minimum);
            }
        } else {
            for number in into {
                *number = number.wrapping_mul(self.scale).wrapping_add(self.minimum);
            }
        }
    }
}
