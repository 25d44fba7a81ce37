//! What an encoding would cost, and thus which one is taken.

use super::{
    blob::OWN_FRAME,
    numbers::NumbersHead,
    pack::width_of,
    piece::Style,
    shape::{Part, Shape},
    tokens::{TOKENS, token},
};

/// Bits that a byte of text takes, roughly, after compression.
const TEXT_BYTE: u64 = 5;
/// Bits that a run of equal codes takes after compression, at most.
const RUN: f64 = 24.0;
/// What a zstd frame takes besides, and each different byte in its table of frequencies, in bits.
const FRAME: f64 = 160.0;
const SYMBOL: f64 = 4.0;
/// What compressed codes have to save so that they are not simply packed.
const WORTH: f64 = 0.95;
/// Fewer rows are not worth another way to write their codes.
const FEW_ROWS: usize = 64;

/// How to write codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodesKind {
    /// Any order of the dictionary does.
    Packed { width: u32 },
    /// The same.
    Bytes,
    /// Frequent entries first, those that occur once last.
    Tokens { singles: u32 },
    /// In the order in which the entries come up.
    References { width: u32 },
    /// Those that occur once last, in the order in which they come up.
    Singles { singles: u32, width: u32 },
}

/// A way to write codes and how many bits it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodesPlan {
    pub(super) kind: CodesKind,
    pub(super) bits: u64,
}

/// What there is to know of codes.
pub(super) struct CodesFacts {
    pub(super) rows: usize,
    /// All codes are below.
    pub(super) distinct: usize,
    /// How many runs of equal codes there are.
    pub(super) runs: usize,
}

impl CodesFacts {
    /// Codes of equal width.
    pub(super) fn packed(&self) -> CodesPlan {
        let width = width_of((self.distinct as u64).saturating_sub(1));
        CodesPlan { kind: CodesKind::Packed { width }, bits: self.rows as u64 * u64::from(width) }
    }

    /// Bytes, compressed; if there can be any. `counts` says how many rows have each code.
    pub(super) fn bytes(&self, counts: impl Iterator<Item = u32>) -> Option<CodesPlan> {
        if self.rows <= FEW_ROWS || !(2..=256).contains(&self.distinct) {
            return None;
        }
        let (entropy, symbols) = self.entropy(counts);
        Some(self.compressed(CodesKind::Bytes, entropy.min(self.runs as f64 * RUN), symbols))
    }

    /// Tokens, compressed. `counts` says how many rows have each symbol, in order; `singles` of them the first.
    pub(super) fn tokens(&self, counts: impl Iterator<Item = u32>, singles: u32) -> Option<CodesPlan> {
        if self.rows <= FEW_ROWS || self.distinct < 2 {
            return None;
        }
        let mut tokens = [0; TOKENS];
        let mut rest = 0;
        for (number, count) in counts.enumerate() {
            let (token, bits) = token(number as u32);
            tokens[usize::from(token)] += count;
            rest += u64::from(bits) * u64::from(count);
        }
        let (entropy, symbols) = self.entropy(tokens.into_iter());
        Some(self.compressed(
            CodesKind::Tokens { singles },
            entropy.min(self.runs as f64 * RUN) + rest as f64,
            symbols,
        ))
    }

    /// How many bits as many symbols take, and how many differ.
    fn entropy(&self, counts: impl Iterator<Item = u32>) -> (f64, usize) {
        let total = self.rows as f64;
        let counts = counts.filter(|count| *count > 0).map(f64::from);
        counts.fold((0.0, 0), |(bits, symbols), count| (bits + count * (total / count).log2(), symbols + 1))
    }

    fn compressed(&self, kind: CodesKind, bits: f64, symbols: usize) -> CodesPlan {
        let table = if self.rows >= OWN_FRAME { FRAME + SYMBOL * symbols as f64 } else { 0.0 };
        CodesPlan { kind, bits: ((bits + table) / WORTH) as u64 }
    }
}

impl CodesPlan {
    /// References back, for codes that are numbered in the order in which they come up.
    pub(super) fn references(codes: &[u32], distinct: usize) -> Self {
        let (mut seen, mut farthest) = (0u32, 0u32);
        for code in codes {
            if *code == seen {
                seen += 1;
            } else {
                farthest = farthest.max(seen - 1 - code);
            }
        }
        let width = width_of(farthest.into());
        let bits = codes.len() as u64 + (codes.len() - distinct) as u64 * u64::from(width);
        Self { kind: CodesKind::References { width }, bits }
    }

    /// Marks for those that occur once, and packed codes of the others.
    pub(super) fn singles(rows: usize, distinct: usize, singles: u32) -> Self {
        let width = width_of((distinct as u64).saturating_sub(u64::from(singles) + 1));
        let bits = rows as u64 + (rows as u64 - u64::from(singles)) * u64::from(width);
        Self { kind: CodesKind::Singles { singles, width }, bits }
    }

    /// The cheaper of two, of equal ones this.
    pub(super) fn or(self, other: Option<Self>) -> Self {
        other.filter(|other| other.bits < self.bits).unwrap_or(self)
    }
}

/// How many runs of equal codes there are.
pub(super) fn runs(codes: &[u32]) -> usize {
    codes.windows(2).filter(|pair| pair[0] != pair[1]).count() + 1
}

/// Plans the columns of a shape. `column` gives the numbers of each.
pub(super) fn plan_columns<'n>(
    shape: &Shape,
    column: impl Fn(usize) -> &'n [u64],
    heads: &mut Vec<NumbersHead>,
) {
    heads.clear();
    heads.extend((0..shape.columns()).map(|index| {
        let head = NumbersHead::plan(column(index));
        // For a single column a dictionary does the same, and more.
        if shape.columns() > 1 { head.or_listed(column(index)) } else { head }
    }));
    for part in &shape.parts {
        if let Part::Number { style: Style::Hexadecimal { digits, .. }, column } = part
            && let Some(head) = heads.get_mut(*column)
        {
            *head = head.clone().starting_at_zero(4 * u32::from(*digits));
        }
    }
}

/// How many bits the columns take.
pub(super) fn columns_bits(heads: &[NumbersHead]) -> u64 {
    heads.iter().map(NumbersHead::bits).sum()
}

/// How many bits free text takes: `bytes` bytes of `count` values.
pub(super) fn text_bits(bytes: usize, count: usize) -> u64 {
    let length = (bytes / count.max(1)) as u64;
    bytes as u64 * TEXT_BYTE + count as u64 * u64::from(width_of(length))
}
