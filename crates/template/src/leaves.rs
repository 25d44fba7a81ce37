//! The mask of a JSON line, read as the values that it leaves open.

use crate::{
    json::{self, Visit},
    unescape,
};
use std::ops::Range;

/// What kind of value a leaf is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeafKind {
    /// A string; its raw value is the text between its quotes.
    String,
    /// A number, `true`, `false`, `null`, an array or an object below the levels that are cut, raw.
    Bare,
}

/// A value of a JSON line that is no object, in the line's mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The keys from the outside in, unescaped.
    pub path: Vec<String>,
    /// What it is.
    pub kind: LeafKind,
    /// The bytes of the mask that stand for its raw value.
    pub content: Range<usize>,
    /// Which variables of the line lie in it: one, but for a string that is cut like text.
    pub variables: Range<usize>,
}

/// The values of a JSON object's mask, in order. `None` if the mask is not that of a JSON line.
pub fn json_leaves(mask: &[u8]) -> Option<Vec<Leaf>> {
    let mut leaves = Leaves { mask, path: Vec::new(), counted: 0, variables: 0, found: Vec::new() };
    json::scan_mask(mask, &mut leaves)?;
    Some(leaves.found)
}

/// Whether a mask is that of a JSON line.
pub(crate) fn is_json(mask: &[u8]) -> bool {
    json_leaves(mask).is_some()
}

struct Leaves<'a> {
    mask: &'a [u8],
    path: Vec<String>,
    /// The variables up to this byte of the mask are counted.
    counted: usize,
    variables: usize,
    found: Vec<Leaf>,
}

impl Leaves<'_> {
    fn leaf(&mut self, key: Range<usize>, content: Range<usize>, kind: LeafKind) -> Option<()> {
        let mut path = self.path.clone();
        path.push(self.key(key)?);
        let start = self.variables + count(&self.mask[self.counted..content.start]);
        self.variables = start + count(&self.mask[content.clone()]);
        self.counted = content.end;
        self.found.push(Leaf { path, kind, content, variables: start..self.variables });
        Some(())
    }

    fn key(&self, key: Range<usize>) -> Option<String> {
        let raw = std::str::from_utf8(&self.mask[key]).ok()?;
        Some(unescape(raw)?.into_owned())
    }
}

fn count(mask: &[u8]) -> usize {
    mask.iter().map(|byte| usize::from(*byte == 0)).sum()
}

impl Visit for Leaves<'_> {
    fn string(&mut self, key: Range<usize>, content: Range<usize>, _: bool) -> Option<()> {
        let whole = self.mask[content.clone()] == [0];
        if !whole && !json::is_text_key(&self.mask[key.clone()]) {
            return None;
        }
        std::str::from_utf8(&self.mask[content.clone()]).ok()?;
        self.leaf(key, content, LeafKind::String)
    }

    fn bare(&mut self, key: Range<usize>, value: Range<usize>) -> Option<()> {
        self.leaf(key, value, LeafKind::Bare)
    }

    fn open(&mut self, key: Range<usize>) -> Option<()> {
        let key = self.key(key)?;
        self.path.push(key);
        Some(())
    }

    fn close(&mut self) {
        self.path.pop();
    }
}

#[cfg(test)]
mod tests;
