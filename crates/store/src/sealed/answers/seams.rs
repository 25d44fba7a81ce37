//! Which rows have a part in their line that may lie across seams, between constant text and variables, found without
//! rebuilding lines: each way in which the part can lie across them is some tests on columns.

use super::{Answer, Answers, asked::Asked};
use crate::{Error, bits::Bits, column::Needle, plan::ascii_words, shape::Mask};
use millrace_filter::{GlobPart, Text};
use millrace_model::text::fold;
use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Range,
};

/// Ways to lie across seams; a part with more is looked for in the lines themselves.
const MOST_WAYS: usize = 256;

/// What varies in a line: the value in a slot, or, where there is none, the record's own time.
type Variable = Option<usize>;

/// What the text of a variable has to be, as stretches of the part, folded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Bound {
    Starts(Range<usize>),
    Ends(Range<usize>),
    Is(Range<usize>),
}

impl Bound {
    fn range(&self) -> Range<usize> {
        match self {
            Self::Starts(range) | Self::Ends(range) | Self::Is(range) => range.clone(),
        }
    }

    fn passes(&self, part: &str, value: &[u8]) -> bool {
        let wanted = &part[self.range()];
        if !value.is_ascii() {
            let value = folded(value);
            return match self {
                Self::Starts(_) => value.starts_with(wanted),
                Self::Ends(_) => value.ends_with(wanted),
                Self::Is(_) => value == wanted,
            };
        }
        let stretch = match self {
            Self::Starts(_) => value.get(..wanted.len()),
            Self::Ends(_) => value.len().checked_sub(wanted.len()).map(|start| &value[start..]),
            Self::Is(_) => Some(value),
        };
        stretch.is_some_and(|stretch| stretch.eq_ignore_ascii_case(wanted.as_bytes()))
    }
}

/// All that one way asks of variables.
type Way = Vec<(Variable, Bound)>;

/// The part, folded, that a line has to hold for a text to match, if that is all that is asked. Of ASCII alone: only its
/// characters come, folded, from one of the same length.
pub(super) fn part_of(text: &Text) -> Option<String> {
    let part = match text {
        Text::Substring(part) => part.clone(),
        // A pattern is looked for anywhere, so what stands for anything at its ends says nothing.
        Text::Part(glob) if glob.parts().iter().all(|part| !matches!(part, GlobPart::One)) => {
            let mut literals = glob.literals();
            literals.next().filter(|_| literals.next().is_none())?
        }
        _ => return None,
    };
    (part.is_ascii() && !part.is_empty()).then_some(part)
}

/// A piece of a line, in order.
enum Piece {
    Constant(String),
    Variable(Variable),
}

fn pieces(mask: &Mask) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (number, constant) in mask.constants().enumerate() {
        if let Some(variable) = number.checked_sub(1) {
            pieces.push(Piece::Variable(mask.slot(variable)));
        }
        pieces.push(Piece::Constant(fold(constant)));
    }
    pieces
}

/// Finds the ways in which a part can lie across the seams of a line; `None`: there are too many.
struct Search<'a> {
    part: &'a str,
    pieces: &'a [Piece],
    ways: Vec<Way>,
    fails: bool,
}

impl Search<'_> {
    fn all(mut self) -> Option<Vec<Way>> {
        for (number, piece) in self.pieces.iter().enumerate() {
            for length in 1..self.part.len() {
                let begins = match piece {
                    Piece::Constant(text) => text.ends_with(&self.part[..length]).then(Way::new),
                    Piece::Variable(variable)
                        if self.is_seam(length) && may_have(*variable, &self.part[..length]) =>
                    {
                        Some(vec![(*variable, Bound::Ends(0..length))])
                    }
                    Piece::Variable(_) => None,
                };
                if let Some(way) = begins {
                    self.follow(number + 1, length, &way);
                }
            }
        }
        (!self.fails).then_some(self.ways)
    }

    /// A variable begins and ends where no word goes on.
    fn is_seam(&self, at: usize) -> bool {
        let is_word = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
        let bytes = self.part.as_bytes();
        !(is_word(bytes[at - 1]) && is_word(bytes[at]))
    }

    /// The part up to `done` lies before a piece, and goes on in it.
    fn follow(&mut self, piece: usize, done: usize, way: &Way) {
        if self.fails || self.ways.len() >= MOST_WAYS {
            self.fails = true;
            return;
        }
        let rest = &self.part[done..];
        match self.pieces.get(piece) {
            Some(Piece::Constant(text)) if text.starts_with(rest) => self.ways.push(way.clone()),
            Some(Piece::Constant(text)) if rest.starts_with(text.as_str()) => {
                self.follow(piece + 1, done + text.len(), way);
            }
            None | Some(Piece::Constant(_)) => {}
            Some(Piece::Variable(variable)) => {
                let with = |bound: Bound| way.iter().cloned().chain([(*variable, bound)]).collect::<Way>();
                if may_have(*variable, rest) {
                    self.ways.push(with(Bound::Starts(done..self.part.len())));
                }
                for end in done..self.part.len() {
                    if (end == done || self.is_seam(end)) && may_have(*variable, &self.part[done..end]) {
                        self.follow(piece + 1, end, &with(Bound::Is(done..end)));
                    }
                }
            }
        }
    }
}

impl Answers<'_> {
    /// The rows of a chunk of lines that hold a part; `None` where only the lines can say.
    pub(super) fn holding(
        &self,
        part: &str,
        mask: &Mask,
        asked: &Asked<'_>,
    ) -> Result<Option<Answer>, Error> {
        let pieces = pieces(mask);
        if pieces.iter().any(|piece| matches!(piece, Piece::Constant(text) if text.contains(part))) {
            return Ok(Some(Answer::All));
        }
        let search = Search { part, pieces: &pieces, ways: Vec::new(), fails: false };
        let Some(ways) = search.all() else { return Ok(None) };
        let mut found = Bits::none(asked.place.rows);
        for piece in &pieces {
            if let Piece::Variable(variable) = piece
                && may_have(*variable, part)
            {
                let holds = |value: &[u8]| folded(value).contains(part);
                found.or_with(&self.with_variable(*variable, part, mask, asked, &mut |value| holds(value))?);
            }
        }
        let mut known: HashMap<(Variable, Bound), Bits> = HashMap::new();
        for way in ways {
            let mut rows: Option<Bits> = None;
            for (variable, bound) in way {
                let passing = match known.entry((variable, bound)) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => {
                        let bound = &place.key().1;
                        let test = &mut |value: &[u8]| bound.passes(part, value);
                        let passing =
                            self.with_variable(variable, &part[bound.range()], mask, asked, test)?;
                        place.insert(passing)
                    }
                };
                rows = Some(rows.map_or_else(|| passing.clone(), |rows| rows.and(passing)));
                if rows.as_ref().is_some_and(Bits::is_empty) {
                    break;
                }
            }
            match rows {
                Some(rows) => found.or_with(&rows),
                None => return Ok(Some(Answer::All)),
            }
        }
        Ok(Some(Answer::of(found)))
    }

    /// The rows with a variable that passes a test, which only those do that hold a stretch, folded.
    fn with_variable(
        &self,
        variable: Variable,
        stretch: &str,
        mask: &Mask,
        asked: &Asked<'_>,
        test: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Bits, Error> {
        let chunk = self.chunk(asked)?;
        match (variable, mask.time) {
            (Some(slot), _)
                if chunk
                    .head(slot)
                    .is_some_and(|head| ascii_words(stretch).all(|word| head.may_hold(word))) =>
            {
                let found = chunk.column(slot)?.matching(Needle::new(stretch).as_ref(), test);
                found.map_err(self.broken())
            }
            (None, Some((_, format))) => {
                let mut text = Vec::new();
                let passes = self.own_times(asked)?.into_iter().map(|time| {
                    text.clear();
                    format.write(time, &mut text);
                    test(&text)
                });
                Ok(passes.collect())
            }
            _ => Ok(Bits::none(asked.place.rows)),
        }
    }
}

/// May the text of a variable have this stretch, folded? A time has few kinds of characters, and few of each that are no
/// digits; and it is not empty.
fn may_have(variable: Variable, stretch: &str) -> bool {
    let of_kind = |kind: &[u8]| stretch.bytes().filter(|byte| kind.contains(byte)).count();
    let is_of_time = |byte: u8| byte.is_ascii_digit() || b"tz-:.,+ _/".contains(&byte);
    variable.is_some()
        || (stretch.bytes().all(is_of_time)
            && of_kind(b".,") <= 1
            && of_kind(b":") <= 3
            && !stretch.is_empty())
}

fn folded(value: &[u8]) -> String {
    fold(std::str::from_utf8(value).unwrap_or_default())
}
