//! Masks as a miner compares them: by keyed hashes of their skeletons and of the contents of their slots.

use crate::slots;
use std::{
    hash::{BuildHasher, Hash, Hasher},
    ops::Range,
};

/// Units of sizes and times: `512 B` and `1.2 KB` are values of one kind.
const UNITS: [&[u8]; 18] = [
    b"B",
    b"KB",
    b"kB",
    b"MB",
    b"GB",
    b"TB",
    b"KiB",
    b"MiB",
    b"GiB",
    b"TiB",
    b"ns",
    b"us",
    b"\xc2\xb5s",
    b"ms",
    b"s",
    b"m",
    b"min",
    b"h",
];

/// The contents of a mask's slots.
pub(crate) type Contents = Box<[Content]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    /// Keyed.
    pub(crate) hash: u64,
    /// How much it says that a slot varies.
    pub(crate) weight: u8,
    /// It is one variable and no more. In a merge: any content goes.
    pub(crate) open: bool,
    /// It has letters.
    pub(crate) word: bool,
}

/// A mask in parts.
pub(crate) struct Parts {
    /// A keyed hash of all else.
    pub(crate) skeleton: u128,
    pub(crate) slots: Vec<Range<usize>>,
    pub(crate) contents: Contents,
}

impl Parts {
    /// The parts of a mask; `None` if it has no slots, or more than `most`.
    pub(crate) fn of(mask: &[u8], most: usize, keys: &[impl BuildHasher; 2]) -> Option<Self> {
        let mut slots = Vec::new();
        slots::find(mask, &mut slots);
        if slots.is_empty() || slots.len() > most {
            return None;
        }
        let mut hashers = keys.each_ref().map(BuildHasher::build_hasher);
        let mut at = 0;
        let mut contents = Vec::with_capacity(slots.len());
        let mut after_variable = false;
        for slot in &slots {
            for hasher in &mut hashers {
                mask[at..slot.start].hash(hasher);
            }
            at = slot.end;
            let content = &mask[slot.clone()];
            let varies = content.contains(&0);
            let weighs = varies || (after_variable && UNITS.contains(&content));
            contents.push(Content {
                hash: keys[0].hash_one(content),
                weight: 1 + u8::from(weighs),
                open: content == [0],
                word: content.iter().any(|byte| byte.is_ascii_alphabetic() || *byte >= 128),
            });
            after_variable = content.last() == Some(&0);
        }
        for hasher in &mut hashers {
            mask[at..].hash(hasher);
        }
        let [high, low] = hashers.map(|hasher| u128::from(hasher.finish()));
        Some(Parts { skeleton: high << 64 | low, slots, contents: contents.into() })
    }
}

/// Whether a merge covers a mask, or another merge.
pub(crate) fn covers(merge: &Contents, mask: &Contents) -> bool {
    merge.len() == mask.len()
        && merge.iter().zip(mask).all(|(content, other)| content.open || content.hash == other.hash)
}

/// Whether some mask is covered by both of two merges.
pub(crate) fn overlap(merge: &Contents, other: &Contents) -> bool {
    merge.len() == other.len()
        && merge.iter().zip(other).all(|(one, two)| one.open || two.open || one.hash == two.hash)
}

/// The open slots of a merge, as a set of bits.
pub(crate) fn open_slots(merge: &Contents) -> u128 {
    merge.iter().enumerate().filter(|(_, content)| content.open).fold(0, |open, (at, _)| open | 1 << at)
}

/// The mask with these slots open.
pub(crate) fn opened(mask: &[u8], slots: &[Range<usize>], open: u128) -> Box<[u8]> {
    let mut opened = Vec::with_capacity(mask.len());
    let mut copied = 0;
    for (at, slot) in slots.iter().enumerate() {
        if open >> at & 1 == 1 {
            opened.extend_from_slice(&mask[copied..slot.start]);
            opened.push(0);
            copied = slot.end;
        }
    }
    opened.extend_from_slice(&mask[copied..]);
    opened.into()
}

/// Whether enough words of a mask are left outside of the open slots.
pub(crate) fn keeps_words(contents: &Contents, open: u128) -> bool {
    let kept =
        contents.iter().enumerate().filter(|(at, content)| content.word && open >> at & 1 == 0).count();
    is_kept(kept, words(contents))
}

/// How many contents have letters.
pub(crate) fn words(contents: &Contents) -> usize {
    contents.iter().filter(|content| content.word).count()
}

/// Half of its words make a template, if there is one.
pub(crate) fn is_kept(kept: usize, words: usize) -> bool {
    kept > 0 && 2 * kept >= words
}

/// The weight of distinct contents, as soon as it is `enough`.
pub(crate) fn distinct_weight(contents: impl Iterator<Item = Content>, enough: u32) -> u32 {
    let mut seen: Vec<u64> = Vec::new();
    let mut weight = 0;
    for content in contents {
        if weight >= enough {
            break;
        }
        if !seen.contains(&content.hash) {
            seen.push(content.hash);
            weight += u32::from(content.weight);
        }
    }
    weight
}
