//! Lucene's regular expressions, which match whole values or whole words, as those of the filter language.
//!
//! Everything but these signs stands for itself, `^` and `$` among them: `.` `?` `+` `*` `|` `{ }` `[ ]` `( )` `" "` `\`, and `#`
//! (nothing), `@` (anything), `<n-m>` (numbers). `~` and `&` need what no linear engine has; they are errors.

use super::{Leaf, Reader};
use crate::{Error, fields::Kind};
use millrace_filter::Expr;
use std::iter::Peekable;
use std::str::Chars;

/// The longest expression, in characters.
const MAX_LENGTH: usize = 1000;
const MAX_DEPTH: usize = 50;
/// The widest range of numbers that is written out.
const MAX_NUMBERS: u64 = 100;

/// What matches it.
pub(crate) fn regexp(
    reader: &mut Reader<'_>,
    leaf: &Leaf,
    text: &str,
    any_case: bool,
) -> Result<Expr, Error> {
    reader.pattern()?;
    let words = leaf.field.kind.is_words();
    let inner = translated(text, words, any_case)?;
    if words {
        return leaf.regex(&format!(r"(?i)\b(?:{inner})\b"));
    }
    let folded = any_case || matches!(leaf.field.kind, Kind::Keyword { folded: true } | Kind::Level);
    leaf.regex(&format!(r"{}\A(?:{inner})\z", if folded { "(?is)" } else { "(?s)" }))
}

/// The whole of a value, as aggregations ask for it.
pub(crate) fn anchored(text: &str) -> Result<String, Error> {
    Ok(format!(r"(?s)\A(?:{})\z", translated(text, false, false)?))
}

/// `words`: it is about single words, which are in small letters.
fn translated(text: &str, words: bool, any_case: bool) -> Result<String, Error> {
    if text.chars().count() > MAX_LENGTH {
        return Err(Error::argument(format!(
            "The length of regex [{}] used in the Regexp Query request has exceeded the allowed maximum of [{MAX_LENGTH}]. This maximum can be set by changing the [index.max_regex_length] index level setting.",
            text.chars().count()
        )));
    }
    let mut translator = Translator {
        chars: text.chars().peekable(),
        words,
        any_case,
        out: String::new(),
        last: None,
        is_repeated: false,
    };
    translator.all(0)?;
    Ok(translator.out)
}

struct Translator<'t> {
    chars: Peekable<Chars<'t>>,
    words: bool,
    any_case: bool,
    out: String,
    /// Where what was read last begins, if it can be repeated.
    last: Option<usize>,
    is_repeated: bool,
}

fn wrong(why: &str) -> Error {
    Error::query(format!("failed to create query: {why}"))
}

impl Translator<'_> {
    fn all(&mut self, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(wrong("the regular expression nests too deep"));
        }
        while let Some(c) = self.chars.next() {
            let start = self.out.len();
            match c {
                '?' | '+' | '*' => {
                    self.repeat(&c.to_string())?;
                    continue;
                }
                '{' => {
                    self.counted()?;
                    continue;
                }
                '|' => {
                    self.out.push('|');
                    self.last = None;
                    continue;
                }
                ')' if depth > 0 => return Ok(()),
                ')' => return Err(wrong("unexpected ')'")),
                '.' => self.out.push_str(if self.words { r"\w" } else { "." }),
                '@' => self.out.push_str(if self.words { r"\w*" } else { ".*" }),
                '(' => {
                    self.out.push_str("(?:");
                    self.last = None;
                    self.all(depth + 1)?;
                    self.out.push(')');
                }
                '[' => self.class()?,
                '"' => self.quoted()?,
                '<' => self.numbers()?,
                '~' | '&' => return Err(wrong(&format!("`{c}` is not supported in regular expressions"))),
                // The empty language.
                '#' => self.out.push_str(r"[^\s\S]"),
                '\\' => {
                    let next = self.chars.next().ok_or_else(|| wrong("unexpected end-of-string"))?;
                    if matches!(next, 'd' | 'D' | 'w' | 'W' | 's' | 'S') {
                        self.out.extend(['\\', next]);
                    } else {
                        self.literal(next);
                    }
                }
                c => self.literal(c),
            }
            (self.last, self.is_repeated) = (Some(start), c == '@');
        }
        if depth > 0 { Err(wrong("expected ')'")) } else { Ok(()) }
    }

    /// `sign` behind what was read last; that is a group where it is repeated already, for `a??` would be something else here.
    fn repeat(&mut self, sign: &str) -> Result<(), Error> {
        let last = self.last.ok_or_else(|| wrong(&format!("nothing stands before `{sign}`")))?;
        if self.is_repeated {
            self.out.insert_str(last, "(?:");
            self.out.push(')');
        }
        self.out.push_str(sign);
        self.is_repeated = true;
        Ok(())
    }

    fn literal(&mut self, c: char) {
        // Words are kept in small letters: a capital is in none.
        if self.words && !self.any_case && c.is_uppercase() {
            self.out.push_str(r"[^\s\S]");
        } else {
            self.out.push_str(&super::escape(&c.to_string()));
        }
    }

    fn class(&mut self) -> Result<(), Error> {
        let negated = self.chars.next_if_eq(&'^').is_some();
        let mut inner = String::new();
        let mut escaped;
        loop {
            let mut c = self.chars.next().ok_or_else(|| wrong("expected ']'"))?;
            escaped = c == '\\';
            if escaped {
                c = self.chars.next().ok_or_else(|| wrong("unexpected end-of-string"))?;
            }
            match c {
                ']' if !escaped && !inner.is_empty() => break,
                '-' if !escaped
                    && !inner.is_empty()
                    && self.chars.peek().is_some_and(|next| *next != ']') =>
                {
                    inner.push('-');
                }
                c if c.is_alphanumeric() || matches!(c, '_' | '/') => inner.push(c),
                c if c.is_ascii_punctuation() => inner.extend(['\\', c]),
                c => inner.push(c),
            }
        }
        let class = if negated { format!("[^{inner}]") } else { format!("[{inner}]") };
        // A word holds nothing else, whatever is left out.
        if self.words && negated {
            self.out.extend([r"[\w&&", &class, "]"]);
        } else {
            self.out.push_str(&class);
        }
        Ok(())
    }

    fn counted(&mut self) -> Result<(), Error> {
        let mut inner = String::new();
        loop {
            match self.chars.next() {
                Some('}') => break,
                Some(c) if c.is_ascii_digit() || c == ',' => inner.push(c),
                _ => return Err(wrong("expected '}'")),
            }
        }
        let numbers: Vec<&str> = inner.split(',').collect();
        if numbers.len() > 2 || numbers[0].is_empty() {
            return Err(wrong("integer expected"));
        }
        self.repeat(&format!("{{{inner}}}"))
    }

    fn quoted(&mut self) -> Result<(), Error> {
        self.out.push_str("(?:");
        loop {
            match self.chars.next() {
                Some('"') => break,
                Some(c) => self.literal(c),
                None => return Err(wrong("expected '\"'")),
            }
        }
        self.out.push(')');
        Ok(())
    }

    fn numbers(&mut self) -> Result<(), Error> {
        let mut inner = String::new();
        loop {
            match self.chars.next() {
                Some('>') => break,
                Some(c) if inner.len() < 40 => inner.push(c),
                _ => return Err(wrong("expected '>'")),
            }
        }
        let bounds = inner
            .split_once('-')
            .and_then(|(low, high)| Some((low.parse::<u64>().ok()?, high.parse::<u64>().ok()?)));
        let (low, high) =
            bounds.filter(|(low, high)| low <= high).ok_or_else(|| wrong("interval syntax error"))?;
        if high - low > MAX_NUMBERS {
            return Err(wrong("the interval is too wide"));
        }
        let all: Vec<String> = (low..=high).map(|number| number.to_string()).collect();
        self.out.extend(["(?:0*(?:", &all.join("|"), "))"]);
        Ok(())
    }
}
