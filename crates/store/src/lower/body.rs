//! Tests on the body, by the words that the index has of it. A word of at most [`WHOLE`] bytes is a term of its own; a
//! longer one may share its term with others, so its documents stay open.

use super::{Lowered, Lowering, Result};
use crate::documents::Documents;
use millrace_filter::{Glob, Text};
use millrace_model::text::{MAX_TOKEN_BYTES, indexed_form};

/// A term of up to this many bytes was not cut: cutting takes at most three bytes more than it must.
const WHOLE: usize = MAX_TOKEN_BYTES - 4;

impl Lowering<'_> {
    pub(super) fn text(&self, test: &Text) -> Result<Lowered> {
        match test {
            Text::Phrase { tokens, .. } => self.phrase(tokens),
            Text::Token(glob) => self.tokens(&glob.prefix(), |token| glob.matches(token)),
            Text::Part(glob) => self.part(glob),
            Text::Substring(part) if part.is_empty() => Ok(Lowered::exactly(self.index.all())),
            Text::Substring(_) => Ok(Lowered::open(self.index.all())),
            Text::Regex(pattern) => Ok(Lowered::open(self.regex(pattern)?)),
        }
    }

    /// One word is looked up; of several, the index knows the words but not that they stand side by side.
    fn phrase(&self, tokens: &[String]) -> Result<Lowered> {
        let mut all = self.index.all();
        for token in tokens {
            all = all.and(&self.index.with(self.shard.layout.body, indexed_form(token).as_bytes())?);
        }
        match tokens {
            [] => Ok(Lowered::exactly(all)),
            [token] if token.len() <= WHOLE => Ok(Lowered::exactly(all)),
            _ => Ok(Lowered::open(all)),
        }
    }

    /// The documents with a folded word that begins with `prefix` and passes `test`.
    fn tokens(&self, prefix: &str, test: impl Fn(&str) -> bool) -> Result<Lowered> {
        let prefix = &prefix[..prefix.floor_char_boundary(WHOLE)];
        let mut token = String::new();
        self.index.scan(self.shard.layout.body, prefix.as_bytes(), |rest| {
            let rest = std::str::from_utf8(rest).ok()?;
            if prefix.len() + rest.len() > WHOLE {
                return None;
            }
            token.clear();
            token.push_str(prefix);
            token.push_str(rest);
            Some(test(&token))
        })
    }

    /// A pattern with other than word characters. Each of its literals stands in whatever matches.
    fn part(&self, glob: &Glob) -> Result<Lowered> {
        let mut possible = self.index.all();
        for literal in glob.literals() {
            possible = possible.and(&self.with_literal(&literal)?);
        }
        Ok(Lowered::open(possible))
    }

    /// At least the documents whose folded body holds `literal`, by the words that its own separators mark off.
    pub(super) fn with_literal(&self, literal: &str) -> Result<Documents> {
        let mut possible = self.index.all();
        for piece in pieces(literal) {
            let found = match piece {
                Piece { text, starts: true, ends: true } => self.phrase(&[text.to_owned()])?,
                Piece { text, starts: true, .. } => self.tokens(text, |_| true)?,
                Piece { text, ends: true, .. } => self.tokens("", |token| token.ends_with(text))?,
                Piece { text, .. } => self.tokens("", |token| token.contains(text))?,
            };
            possible = possible.and(&found.possible);
        }
        Ok(possible)
    }
}

/// A run of word characters in a literal, and whether a word must start and end with it.
#[derive(Debug, PartialEq)]
struct Piece<'a> {
    text: &'a str,
    starts: bool,
    ends: bool,
}

/// Only ASCII counts: there, and only there, a character of a folded text comes from one of the same class.
fn pieces(literal: &str) -> impl Iterator<Item = Piece<'_>> {
    let separates = |c: char| c.is_ascii() && c != '_' && !c.is_ascii_alphanumeric();
    literal.split(separates).filter(|text| !text.is_empty() && text.is_ascii()).map(move |text| {
        let at = text.as_ptr() as usize - literal.as_ptr() as usize;
        Piece { text, starts: at > 0, ends: at + text.len() < literal.len() }
    })
}

#[cfg(test)]
mod tests {
    use super::{Piece, pieces};

    #[test]
    fn separators_mark_words_off() {
        let all = |literal| {
            pieces(literal).map(|Piece { text, starts, ends }| (text, starts, ends)).collect::<Vec<_>>()
        };
        assert_eq!(all("10.0."), [("10", false, true), ("0", true, true)]);
        assert_eq!(all("o-b"), [("o", false, true), ("b", true, false)]);
        assert_eq!(all("a_b"), [("a_b", false, false)]);
        assert_eq!(all("größe/x"), [("x", true, false)]);
        assert_eq!(all("--"), []);
    }
}
