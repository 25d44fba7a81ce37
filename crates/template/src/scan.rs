//! Cutting a line, and putting it together again.

use crate::{bits::Bits, json, leaves, text};
use std::ops::Range;

/// A line with more variables than this is not cut.
pub const MAX_VARIABLES: usize = 200;

/// The mask of a line that is not cut, but is one variable as a whole: it holds a NUL byte, or has more than
/// [`MAX_VARIABLES`] variables, or its mask would read as a JSON object's though the line is none.
pub const FREE_TEXT: &[u8] = &[0];

/// Scratch and result of scanning one line. Made to be reused: once warm it allocates nothing.
#[derive(Debug, Default)]
pub struct Scan {
    bits: Bits,
    seams: Seams,
    json: bool,
}

impl Scan {
    /// Cuts a line of less than 4 GiB.
    pub fn line(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let braced = bytes.iter().find(|byte| !json::is_space(**byte)) == Some(&b'{');
        let has_nul = self.bits.read(bytes);
        self.seams.restart();
        self.json = braced && json::cut(text, &self.bits, &mut self.seams).is_some();
        if !self.json && !self.seams.overflow() {
            self.seams.restart();
            text::cut::<false>(text, 0..bytes.len(), &self.bits, &mut self.seams);
        }
        self.seams.end(bytes);
        let misleads = braced && !self.json && leaves::is_json(&self.seams.mask);
        if has_nul || self.seams.overflow() || misleads {
            self.json = false;
            self.seams.restart();
            self.seams.variable(bytes, 0..bytes.len());
        }
    }

    /// The line with each variable replaced by one NUL byte.
    pub fn mask(&self) -> &[u8] {
        &self.seams.mask
    }

    /// The variables: byte ranges of the line, ascending, disjoint, as many as the mask has NUL bytes.
    pub fn variables(&self) -> &[Range<u32>] {
        &self.seams.variables
    }

    /// Whether the line is one JSON object and was cut as such.
    pub fn is_json(&self) -> bool {
        self.json
    }
}

/// What has been cut so far.
#[derive(Debug, Default)]
pub(crate) struct Seams {
    mask: Vec<u8>,
    variables: Vec<Range<u32>>,
    /// Up to where the line is in the mask.
    copied: usize,
}

impl Seams {
    fn restart(&mut self) {
        self.mask.clear();
        self.variables.clear();
        self.copied = 0;
    }

    /// The next variable of the line.
    #[inline]
    pub(crate) fn variable(&mut self, line: &[u8], range: Range<usize>) {
        self.mask.extend_from_slice(&line[self.copied..range.start]);
        self.mask.push(0);
        self.variables.push(range.start as u32..range.end as u32);
        self.copied = range.end;
    }

    fn end(&mut self, line: &[u8]) {
        self.mask.extend_from_slice(&line[self.copied..]);
    }

    /// The line has more variables than it may have.
    #[inline]
    pub(crate) fn overflow(&self) -> bool {
        self.variables.len() > MAX_VARIABLES
    }
}

/// Appends the line of a mask and its variables. The inverse of [`Scan::line`]; a variable that is missing is left
/// out, one too many is ignored.
pub fn rebuild<'a>(mask: &[u8], variables: impl Iterator<Item = &'a [u8]>, into: &mut Vec<u8>) {
    let mut variables = variables;
    let mut pieces = mask.split(|byte| *byte == 0);
    into.extend_from_slice(pieces.next().unwrap_or_default());
    for piece in pieces {
        into.extend_from_slice(variables.next().unwrap_or_default());
        into.extend_from_slice(piece);
    }
}

#[cfg(test)]
pub(crate) mod tests;
