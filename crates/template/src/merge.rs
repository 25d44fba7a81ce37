//! A merge: a mask in which words that differ from line to line have become variables, and what it covers.

use crate::{TemplateId, slots};
use std::ops::Range;

/// A mask that stands for others of its skeleton: at some of its slots, the pieces between delimiters, any content
/// goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The id of the template that lines have with all masks that it covers.
    pub id: TemplateId,
    /// The mask. A slot that is one NUL byte and no more is open.
    pub mask: Box<[u8]>,
}

impl Merge {
    pub(crate) fn new(mask: Box<[u8]>) -> Self {
        Self { id: TemplateId::of(&mask), mask }
    }
}

/// The variables of a line under a merged mask that covers the line's own: the contents of its open slots, and the
/// line's own variables elsewhere. `into` is cleared first. False if it does not cover it: nothing is in `into` then.
/// For many lines of one mask, keep the [`Cover`].
pub fn variables_under(
    merged: &[u8],
    mask: &[u8],
    variables: &[Range<u32>],
    into: &mut Vec<Range<u32>>,
) -> bool {
    into.clear();
    Cover::new(merged, mask).is_some_and(|cover| cover.variables(variables, into))
}

/// How a merged mask covers another: what becomes of the variables of lines with that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// How many variables the covered mask has.
    own: usize,
    pieces: Vec<Piece>,
}

/// A variable under the merged mask.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// One that the line has itself.
    Own(usize),
    /// The content of an open slot.
    Slot(Range<Place>),
}

/// A place in lines of one mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// How many variables end before it.
    variables: usize,
    /// How many constant bytes lie between the last of them, or the line's beginning, and the place.
    beyond: u32,
}

impl Cover {
    /// `None` if `merged` does not cover `mask`.
    pub fn new(merged: &[u8], mask: &[u8]) -> Option<Self> {
        let (mut open_slots, mut slots) = (Vec::new(), Vec::new());
        slots::find(merged, &mut open_slots);
        slots::find(mask, &mut slots);
        if open_slots.len() != slots.len() {
            return None;
        }
        let mut walk = Walk { mask, at: 0, place: Place { variables: 0, beyond: 0 } };
        let mut pieces = Vec::new();
        let mut merged_at = 0;
        for (open, slot) in open_slots.iter().zip(&slots) {
            if merged.get(merged_at..open.start)? != mask.get(walk.at..slot.start)? {
                return None;
            }
            walk.pass(slot.start, Some(&mut pieces));
            if merged[open.clone()] == [0] {
                let start = walk.place;
                walk.pass(slot.end, None);
                pieces.push(Piece::Slot(start..walk.place));
            } else if merged[open.clone()] == mask[slot.clone()] {
                walk.pass(slot.end, Some(&mut pieces));
            } else {
                return None;
            }
            merged_at = open.end;
        }
        if merged[merged_at..] != mask[walk.at..] {
            return None;
        }
        walk.pass(mask.len(), Some(&mut pieces));
        Some(Self { own: walk.place.variables, pieces })
    }

    /// The variables under the merged mask of a line with these variables under its own. `into` is cleared first. False,
    /// and nothing in it, if these are not as many as the mask has.
    pub fn variables(&self, variables: &[Range<u32>], into: &mut Vec<Range<u32>>) -> bool {
        into.clear();
        if variables.len() != self.own {
            return false;
        }
        let in_line = |place: Place| {
            let end = place.variables.checked_sub(1).map_or(0, |last| variables[last].end);
            end.saturating_add(place.beyond)
        };
        into.extend(self.pieces.iter().map(|piece| match piece {
            Piece::Own(at) => variables[*at].clone(),
            Piece::Slot(places) => in_line(places.start)..in_line(places.end),
        }));
        true
    }
}

/// A way through a mask.
struct Walk<'a> {
    mask: &'a [u8],
    at: usize,
    place: Place,
}

impl Walk<'_> {
    /// Goes on to byte `to`, and puts the variables on the way into `pieces`.
    fn pass(&mut self, to: usize, mut pieces: Option<&mut Vec<Piece>>) {
        for byte in &self.mask[self.at..to] {
            if *byte == 0 {
                if let Some(pieces) = &mut pieces {
                    pieces.push(Piece::Own(self.place.variables));
                }
                self.place = Place { variables: self.place.variables + 1, beyond: 0 };
            } else {
                self.place.beyond += 1;
            }
        }
        self.at = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cover_takes_in_what_lies_in_open_slots() {
        let merged = b"from \0 (\0) at \0";
        let mask = b"from host-\0.net () at \0";
        let line = "from host-42.net () at 17";
        let mut into = Vec::new();
        assert!(variables_under(merged, mask, &[10..12, 23..25], &mut into));
        let found: Vec<_> =
            into.iter().map(|range| &line[range.start as usize..range.end as usize]).collect();
        assert_eq!(found, ["host-42.net", "", "17"]);
    }

    #[test]
    fn what_is_not_covered_has_no_variables() {
        let mut into = vec![0..1, 2..3];
        for (merged, mask, variables) in [
            (b"a \0".as_slice(), b"b c".as_slice(), 0),
            (b"a \0", b"a b c", 0),
            (b"a \0", b"a  b.", 0),
            (b"a b", b"a \0", 1),
            (b"a \0", b"a \0", 2),
            (b"a \0", b"a \0", 0),
        ] {
            let variables = vec![2..3; variables];
            assert!(!variables_under(merged, mask, &variables, &mut into), "{merged:?} {mask:?}");
            assert!(into.is_empty());
        }
    }
}
